# SPDX-License-Identifier: MIT
# The version stands in CMakeLists.txt and in config/version.hpp. They agree.
file(READ "${SOURCE}/include/thence/config/version.hpp" _header)
string(REGEX MATCH "THENCE_VERSION_MAJOR ([0-9]+)" _ "${_header}")
set(_found "${CMAKE_MATCH_1}")
string(REGEX MATCH "THENCE_VERSION_MINOR ([0-9]+)" _ "${_header}")
string(APPEND _found ".${CMAKE_MATCH_1}")
string(REGEX MATCH "THENCE_VERSION_PATCH ([0-9]+)" _ "${_header}")
string(APPEND _found ".${CMAKE_MATCH_1}")
string(REGEX MATCH "THENCE_VERSION_STRING \"([^\"]+)\"" _ "${_header}")
if(NOT _found STREQUAL VERSION OR NOT CMAKE_MATCH_1 STREQUAL VERSION)
  message(FATAL_ERROR "CMakeLists.txt says ${VERSION}, config/version.hpp says ${_found} and \"${CMAKE_MATCH_1}\"")
endif()
