# SPDX-License-Identifier: MIT
thence_test(analysis_statistics SOURCES statistics_test.cpp LIBRARIES thence::thence NO_SINGLE)
