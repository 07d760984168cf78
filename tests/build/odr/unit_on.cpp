// SPDX-License-Identifier: MIT
// unit_on.cpp: a unit with THENCE_ENABLED=1, whatever the rest of the program has.
#undef THENCE_ENABLED
#define THENCE_ENABLED 1
#include "odr/work.inl"

UnitReport report_of_unit_on() { return work(); }
