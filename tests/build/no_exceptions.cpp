// SPDX-License-Identifier: MIT
// no_exceptions.cpp: the umbrella compiles and runs where there are neither exceptions nor type information.
#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "this unit is to be compiled with -fno-exceptions -fno-rtti"
#endif

#include "thence/thence.hpp"

int main() { return 0; }
