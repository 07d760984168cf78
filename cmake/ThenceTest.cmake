# SPDX-License-Identifier: MIT
# thence_test() and thence_example(): a program, its entry in ctest, and its twin against single_include/.

enable_testing()

if(THENCE_BUILD_TESTS)
  find_package(Catch2 QUIET CONFIG)
  if(NOT TARGET Catch2::Catch2)
    message(FATAL_ERROR "The tests need Catch2 (v2 or v3): install catch2, or run scripts/setup, or set THENCE_BUILD_TESTS=OFF")
  endif()
  # Catch's main is compiled once.
  add_library(thence_test_main OBJECT "${PROJECT_SOURCE_DIR}/tests/support/main.cpp")
  target_include_directories(thence_test_main PUBLIC "${PROJECT_SOURCE_DIR}/tests")
  target_link_libraries(thence_test_main PUBLIC Catch2::Catch2)
endif()

# The system's python first: it is the one that scripts/setup gives its modules (jsonschema).
find_program(THENCE_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
find_program(THENCE_PYTHON python3)
mark_as_advanced(THENCE_PYTHON)

# What every test runs with. A sanitizer's finding ends the test with an error.
set(THENCE_TEST_ENVIRONMENT "")
if("address" IN_LIST THENCE_SANITIZE)
  list(APPEND THENCE_TEST_ENVIRONMENT
       "ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1"
       "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.supp:print_suppressions=0"
       "UBSAN_OPTIONS=print_stacktrace=1")
endif()
if("thread" IN_LIST THENCE_SANITIZE)
  list(APPEND THENCE_TEST_ENVIRONMENT "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")
endif()

# The twins: thence::X with its headers taken from single_include/. A header that is asked for by its layer
# ("thence/core/ids.hpp") is a forwarding header in the build directory. Made when single_include/ is there.
set(THENCE_TWINS OFF)
if(THENCE_TEST_SINGLE_INCLUDE AND EXISTS "${PROJECT_SOURCE_DIR}/single_include/thence/thence.hpp")
  set(THENCE_TWINS ON)
  set(_forward "${PROJECT_BINARY_DIR}/single_forward")
  function(_thence_forward single)
    foreach(_layer IN LISTS ARGN)
      file(GLOB_RECURSE _found CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}/include"
           "${PROJECT_SOURCE_DIR}/include/thence/${_layer}/*.hpp")
      if(EXISTS "${PROJECT_SOURCE_DIR}/include/thence/${_layer}.hpp")
        list(APPEND _found "thence/${_layer}.hpp")
      endif()
      foreach(_header IN LISTS _found)
        file(CONFIGURE OUTPUT "${_forward}/${_header}"
             CONTENT "// SPDX-License-Identifier: MIT\n#pragma once\n#include \"thence/${single}.hpp\"\n")
      endforeach()
    endforeach()
  endfunction()
  _thence_forward(thence config core storage wire formats capture session)
  _thence_forward(v8 adapters/v8)
  _thence_forward(kj adapters/kj)
  _thence_forward(kj_v8 adapters/kj_v8)
  _thence_forward(analysis model analysis)

  add_library(thence_single INTERFACE)
  target_include_directories(thence_single INTERFACE "${PROJECT_SOURCE_DIR}/single_include" "${_forward}")
  target_compile_features(thence_single INTERFACE cxx_std_20)
  target_link_libraries(thence_single INTERFACE xxHash::header Threads::Threads ${CMAKE_DL_LIBS})
  if(NOT THENCE_ENABLED)
    target_compile_definitions(thence_single INTERFACE THENCE_ENABLED=0)
  endif()
  add_library(thence_single_v8 INTERFACE)
  target_link_libraries(thence_single_v8 INTERFACE thence_single $<TARGET_NAME_IF_EXISTS:V8::V8>)
  add_library(thence_single_kj INTERFACE)
  target_link_libraries(thence_single_kj INTERFACE thence_single $<TARGET_NAME_IF_EXISTS:KJ::http>)
  add_library(thence_single_kj_v8 INTERFACE)
  target_link_libraries(thence_single_kj_v8 INTERFACE thence_single_kj thence_single_v8)
endif()

# Fills `out` with the thence targets in the list that this build does not have.
function(_thence_missing out)
  set(_missing "")
  foreach(_library IN LISTS ARGN)
    if(_library MATCHES "^(thence|V8|KJ)::" AND NOT TARGET ${_library})
      list(APPEND _missing ${_library})
    endif()
  endforeach()
  set(${out} "${_missing}" PARENT_SCOPE)
endfunction()

# One executable. For the two functions below.
function(_thence_program target)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "NO_RTTI;NO_EXCEPTIONS" "DIRECTORY" "SOURCES;LIBRARIES;NO_RTTI_SOURCES;DEFINITIONS;OPTIONS")
  add_executable(${target} ${ARG_SOURCES} ${ARG_NO_RTTI_SOURCES})
  if(ARG_NO_RTTI_SOURCES)
    set_source_files_properties(${ARG_NO_RTTI_SOURCES} PROPERTIES COMPILE_OPTIONS -fno-rtti)
  endif()
  if(ARG_NO_RTTI)
    target_compile_options(${target} PRIVATE -fno-rtti)
  endif()
  if(ARG_NO_EXCEPTIONS)
    target_compile_options(${target} PRIVATE -fno-exceptions)
  endif()
  target_compile_definitions(${target} PRIVATE ${ARG_DEFINITIONS})
  target_compile_options(${target} PRIVATE ${ARG_OPTIONS})
  target_link_libraries(${target} PRIVATE ${ARG_LIBRARIES})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${ARG_DIRECTORY}")
endfunction()

# thence_test(<name>
#   SOURCES <files>            its translation units
#   LIBRARIES <targets>        thence::thence and what else it needs. Where one of ours is not there (no V8, no KJ),
#                              the test is left out, and named at the end of the configuration
#   [NO_RTTI_SOURCES <files>]  units compiled with -fno-rtti: those with classes derived from V8's
#   [LABELS <labels>]          added to the folder's own (core or host)
#   [WHEN ALWAYS|ON|OFF]       by THENCE_ENABLED; default: the folder's (components ALWAYS, what records ON)
#   [DEFINITIONS ...] [OPTIONS ...] [ARGS ...] [TIMEOUT <s>]
#   [PLAIN]                    it has its own main and no Catch2
#   [NO_RTTI] [NO_EXCEPTIONS]  for the whole program; only with PLAIN
#   [NO_SINGLE]                no twin against single_include/
#   [NEEDS_EXCEPTIONS]         its twin has exceptions and RTTI too: the test itself throws, catches, or asks for a type
#   [SERIAL])                  not beside other tests
# One executable, one entry in ctest, of the same name. A test of the core has a twin in the release preset: <name>.single,
# against single_include/ and with -fno-exceptions -fno-rtti.
function(thence_test name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "PLAIN;NO_RTTI;NO_EXCEPTIONS;NO_SINGLE;NEEDS_EXCEPTIONS;SERIAL" "WHEN;TIMEOUT"
                        "SOURCES;LIBRARIES;NO_RTTI_SOURCES;LABELS;DEFINITIONS;OPTIONS;ARGS")
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "thence_test(${name}): unknown arguments ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  _thence_missing(_missing ${ARG_LIBRARIES})
  if(_missing)
    list(JOIN _missing ", " _missing)
    set_property(GLOBAL APPEND PROPERTY THENCE_LEFT_OUT "test ${name} (no ${_missing})")
    return()
  endif()
  if(NOT ARG_WHEN)
    set(ARG_WHEN "${THENCE_TEST_WHEN}")
  endif()
  if((ARG_WHEN STREQUAL "ON" AND NOT THENCE_ENABLED) OR (ARG_WHEN STREQUAL "OFF" AND THENCE_ENABLED))
    set_property(GLOBAL APPEND PROPERTY THENCE_LEFT_OUT "test ${name} (for THENCE_ENABLED=${ARG_WHEN})")
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set(_harness "")
  if(NOT ARG_PLAIN)
    set(_harness thence_test_main)
  endif()

  set(_names ${name})
  if(THENCE_TWINS AND NOT ARG_NO_SINGLE AND NOT THENCE_TEST_NO_TWINS)
    list(APPEND _names ${name}.single)
  endif()
  foreach(_name IN LISTS _names)
    set(_libraries ${ARG_LIBRARIES})
    if(_name MATCHES "\\.single$")
      list(TRANSFORM _libraries REPLACE "^thence::thence$" "thence_single")
      list(TRANSFORM _libraries REPLACE "^thence::" "thence_single_")
    endif()
    set(_flags "")
    foreach(_flag NO_RTTI NO_EXCEPTIONS)
      if(ARG_${_flag} OR (NOT _name STREQUAL name AND NOT ARG_NEEDS_EXCEPTIONS))
        list(APPEND _flags ${_flag})
      endif()
    endforeach()
    set(_options ${ARG_OPTIONS})
    if(NOT _name STREQUAL name)
      list(APPEND _options -Og)  # a twin is there to compile and to pass
    elseif(NOT ARG_PLAIN)
      list(PREPEND _options ${THENCE_TEST_OPTIONS})
    endif()
    _thence_program(${_name} ${_flags} DIRECTORY "${PROJECT_BINARY_DIR}/tests/bin" SOURCES ${ARG_SOURCES}
                    NO_RTTI_SOURCES ${ARG_NO_RTTI_SOURCES} DEFINITIONS ${ARG_DEFINITIONS} OPTIONS ${_options}
                    LIBRARIES ${_libraries} ${_harness})
    target_include_directories(${_name} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
    target_compile_definitions(${_name} PRIVATE "THENCE_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"" "THENCE_PYTHON=\"${THENCE_PYTHON}\"")
    # A directory of its own: a test and its twin run side by side, and write files of the same names.
    set(_directory "${CMAKE_CURRENT_BINARY_DIR}/run/${_name}")
    file(MAKE_DIRECTORY "${_directory}")
    add_test(NAME ${_name} COMMAND ${_name} ${ARG_ARGS} WORKING_DIRECTORY "${_directory}")
    set_tests_properties(${_name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${THENCE_TEST_LABELS};${ARG_LABELS}"
                                             ENVIRONMENT "${THENCE_TEST_ENVIRONMENT}")
    if(ARG_SERIAL)
      set_tests_properties(${_name} PROPERTIES RUN_SERIAL ON)
    endif()
  endforeach()
endfunction()

# thence_example(<name> SOURCES ... LIBRARIES ... [NO_RTTI_SOURCES ...] [ARGS ...] [NO_TEST] [NO_SINGLE])
# A program in <build>/bin. It is a test too: it must end with 0, in a directory of its own, against include/ and, as
# <name>.single, against single_include/.
function(thence_example name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "NO_TEST;NO_SINGLE" "" "SOURCES;LIBRARIES;NO_RTTI_SOURCES;ARGS;DEFINITIONS;OPTIONS")
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "thence_example(${name}): unknown arguments ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  _thence_missing(_missing ${ARG_LIBRARIES})
  if(_missing)
    list(JOIN _missing ", " _missing)
    set_property(GLOBAL APPEND PROPERTY THENCE_LEFT_OUT "example ${name} (no ${_missing})")
    return()
  endif()
  set(_names ${name})
  if(THENCE_TWINS AND NOT ARG_NO_SINGLE)
    list(APPEND _names ${name}.single)
  endif()
  foreach(_name IN LISTS _names)
    set(_libraries ${ARG_LIBRARIES})
    if(_name MATCHES "\\.single$")
      list(TRANSFORM _libraries REPLACE "^thence::thence$" "thence_single")
      list(TRANSFORM _libraries REPLACE "^thence::" "thence_single_")
    endif()
    _thence_program(${_name} DIRECTORY "${PROJECT_BINARY_DIR}/bin" SOURCES ${ARG_SOURCES}
                    NO_RTTI_SOURCES ${ARG_NO_RTTI_SOURCES} DEFINITIONS ${ARG_DEFINITIONS} OPTIONS ${ARG_OPTIONS}
                    LIBRARIES ${_libraries})
    if(THENCE_BUILD_TESTS AND NOT ARG_NO_TEST)
      file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/tests/examples/${_name}")
      add_test(NAME example.${_name} COMMAND ${_name} ${ARG_ARGS}
               WORKING_DIRECTORY "${PROJECT_BINARY_DIR}/tests/examples/${_name}")
      set_tests_properties(example.${_name} PROPERTIES TIMEOUT 120 LABELS example ENVIRONMENT "${THENCE_TEST_ENVIRONMENT}")
    endif()
  endforeach()
endfunction()
