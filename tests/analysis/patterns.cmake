# SPDX-License-Identifier: MIT
thence_test(analysis_statistics SOURCES statistics_test.cpp LIBRARIES thence::thence NO_SINGLE)
thence_test(analysis_views SOURCES views_test.cpp LIBRARIES thence::thence NO_SINGLE)
thence_test(analysis_comparison SOURCES comparison_test.cpp LIBRARIES thence::thence NO_SINGLE)
thence_test(analysis_search SOURCES search_test.cpp LIBRARIES thence::thence NO_SINGLE)
thence_test(analysis_patterns SOURCES ../corpus/patterns_test.cpp LIBRARIES thence::thence NO_SINGLE DEFINITIONS
            "THENCE_SAMPLES=\"${PROJECT_SOURCE_DIR}/../shared/corpus/async-trace-samples\"")
thence_test(analysis_patterns_again SOURCES ../corpus/patterns_again_test.cpp LIBRARIES thence::thence NO_SINGLE)
if(NOT IS_DIRECTORY "${PROJECT_SOURCE_DIR}/../shared/corpus/async-trace-samples")
  set_property(GLOBAL APPEND PROPERTY THENCE_LEFT_OUT "the published samples in test analysis_patterns (no ../shared/corpus)")
endif()
