# SPDX-License-Identifier: MIT
thence_test(analysis_scheduling SOURCES scheduling_test.cpp LIBRARIES thence::thence NO_SINGLE)
thence_test(analysis_event_loop SOURCES event_loop_test.cpp LIBRARIES thence::thence NO_SINGLE)
thence_test(analysis_live SOURCES live_analysis_test.cpp LIBRARIES thence::thence NO_SINGLE)
thence_test(analysis_json_report SOURCES json_report_test.cpp LIBRARIES thence::thence NO_SINGLE)
