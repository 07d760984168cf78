# SPDX-License-Identifier: MIT
# FindKJ: the parts of Cap'n Proto that a KJ program needs, without the rest.
#
# Cap'n Proto's own package asks for OpenSSL and libatomic too, even where only the event loop is wanted. Where a
# surrounding project already builds Cap'n Proto, its targets are used.
#
#   KJ_ROOT                           a prefix that is searched first
#
#   KJ::kj, KJ::async, KJ::http       imported targets
#   KJ_FOUND, KJ_VERSION

if(TARGET CapnProto::kj-http)
  foreach(_pair kj=kj async=kj-async http=kj-http)
    string(REPLACE "=" ";" _pair "${_pair}")
    list(GET _pair 0 _name)
    list(GET _pair 1 _theirs)
    if(NOT TARGET KJ::${_name})
      add_library(KJ::${_name} INTERFACE IMPORTED)
      target_link_libraries(KJ::${_name} INTERFACE CapnProto::${_theirs})
    endif()
  endforeach()
  set(KJ_VERSION "${CapnProto_VERSION}")
  set(KJ_FOUND TRUE)
  return()
endif()

find_path(KJ_INCLUDE_DIR kj/async.h)
find_library(KJ_LIBRARY kj)
find_library(KJ_ASYNC_LIBRARY kj-async)
find_library(KJ_HTTP_LIBRARY kj-http)
if(KJ_INCLUDE_DIR AND EXISTS "${KJ_INCLUDE_DIR}/capnp/common.h")
  file(STRINGS "${KJ_INCLUDE_DIR}/capnp/common.h" _kj_lines REGEX "^#define CAPNP_VERSION_(MAJOR|MINOR|MICRO) ")
  set(KJ_VERSION "")
  foreach(_part MAJOR MINOR MICRO)
    if(_kj_lines MATCHES "CAPNP_VERSION_${_part} ([0-9]+)")
      list(APPEND KJ_VERSION "${CMAKE_MATCH_1}")
    endif()
  endforeach()
  list(JOIN KJ_VERSION "." KJ_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(KJ REQUIRED_VARS KJ_HTTP_LIBRARY KJ_ASYNC_LIBRARY KJ_LIBRARY KJ_INCLUDE_DIR
                                     VERSION_VAR KJ_VERSION)
mark_as_advanced(KJ_INCLUDE_DIR KJ_LIBRARY KJ_ASYNC_LIBRARY KJ_HTTP_LIBRARY)

if(KJ_FOUND AND NOT TARGET KJ::kj)
  find_package(Threads REQUIRED)
  add_library(KJ::kj UNKNOWN IMPORTED)
  set_target_properties(KJ::kj PROPERTIES IMPORTED_LOCATION "${KJ_LIBRARY}"
                                          INTERFACE_INCLUDE_DIRECTORIES "${KJ_INCLUDE_DIR}")
  add_library(KJ::async UNKNOWN IMPORTED)
  set_target_properties(KJ::async PROPERTIES IMPORTED_LOCATION "${KJ_ASYNC_LIBRARY}")
  target_link_libraries(KJ::async INTERFACE KJ::kj Threads::Threads)
  add_library(KJ::http UNKNOWN IMPORTED)
  set_target_properties(KJ::http PROPERTIES IMPORTED_LOCATION "${KJ_HTTP_LIBRARY}")
  target_link_libraries(KJ::http INTERFACE KJ::async)
endif()
