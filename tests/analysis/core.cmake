# SPDX-License-Identifier: MIT
# -O2 in every configuration: they compute for minutes.
thence_test(analysis_random_programs SOURCES random_program_test.cpp LIBRARIES thence::thence OPTIONS -O2 NO_SINGLE TIMEOUT 900)
thence_test(analysis_core_oracle SOURCES oracle_test.cpp LIBRARIES thence::thence OPTIONS -O2 NO_SINGLE)
thence_test(analysis_critical_path SOURCES critical_path_test.cpp LIBRARIES thence::thence NO_SINGLE)

set(_corpus "${PROJECT_SOURCE_DIR}/../shared/corpus")
thence_test(analysis_core_invariants SOURCES invariants_test.cpp LIBRARIES thence::thence NO_SINGLE DEFINITIONS
            "THENCE_CORPUS=\"${_corpus}\"")
if(NOT IS_DIRECTORY "${_corpus}")
  set_property(GLOBAL APPEND PROPERTY THENCE_LEFT_OUT "the published samples in test analysis_core_invariants (no ../shared/corpus)")
endif()
