// SPDX-License-Identifier: MIT
// unit_off.cpp: a unit with THENCE_ENABLED=0, whatever the rest of the program has.
#undef THENCE_ENABLED
#define THENCE_ENABLED 0
#include "odr/work.inl"

UnitReport report_of_unit_off() { return work(); }
