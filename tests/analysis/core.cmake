# SPDX-License-Identifier: MIT
thence_test(analysis_random_programs SOURCES random_program_test.cpp LIBRARIES thence::thence NO_SINGLE)
thence_test(analysis_core_oracle SOURCES oracle_test.cpp LIBRARIES thence::thence NO_SINGLE)
