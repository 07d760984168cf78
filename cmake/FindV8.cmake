# SPDX-License-Identifier: MIT
# FindV8: V8 as a library, of its own or inside libnode.
#
# Debian's libnode is such a V8: its headers are in include/node and its symbols in libnode.so.
#
#   V8_ROOT        a prefix that is searched first, and alone when it holds a V8 (as CMake's own <Package>_ROOT)
#
#   V8::V8         imported target: headers, library, and the definitions that the library was built with
#   V8_FOUND, V8_VERSION, V8_INCLUDE_DIR, V8_LIBRARY
#
# Headers and library are taken from the same prefix only: a machine may hold the headers of one version and the library of
# another (a vendor's nodejs package has the first without the second), and the mixture compiles, links and crashes.

set(_v8_prefixes "")
if(V8_ROOT)
  list(APPEND _v8_prefixes "${V8_ROOT}")
endif()
if(DEFINED ENV{V8_ROOT})
  list(APPEND _v8_prefixes "$ENV{V8_ROOT}")
endif()
list(APPEND _v8_prefixes ${CMAKE_PREFIX_PATH} /usr/local /usr)
list(REMOVE_DUPLICATES _v8_prefixes)

# What was found under another root is not kept: the root is the question.
if(NOT "${_v8_prefixes}" STREQUAL "${_V8_SEARCHED}")
  unset(V8_INCLUDE_DIR CACHE)
  unset(V8_LIBRARY CACHE)
  unset(V8_PLATFORM_LIBRARY CACHE)
  set(_V8_SEARCHED "${_v8_prefixes}" CACHE INTERNAL "")
endif()

foreach(_prefix IN LISTS _v8_prefixes)
  if(V8_INCLUDE_DIR AND V8_LIBRARY)
    break()
  endif()
  unset(V8_INCLUDE_DIR CACHE)
  unset(V8_LIBRARY CACHE)
  find_path(V8_INCLUDE_DIR NAMES v8-isolate.h v8.h
            PATHS "${_prefix}/include" PATH_SUFFIXES node nodejs v8 . NO_DEFAULT_PATH)
  find_library(V8_LIBRARY NAMES node v8_monolith v8
               PATHS "${_prefix}/lib" "${_prefix}" PATH_SUFFIXES "${CMAKE_LIBRARY_ARCHITECTURE}" . NO_DEFAULT_PATH)
endforeach()

if(V8_INCLUDE_DIR AND EXISTS "${V8_INCLUDE_DIR}/v8-version.h")
  file(STRINGS "${V8_INCLUDE_DIR}/v8-version.h" _v8_lines REGEX "^#define V8_(MAJOR|MINOR|BUILD)_(VERSION|NUMBER) ")
  set(V8_VERSION "")
  foreach(_part MAJOR_VERSION MINOR_VERSION BUILD_NUMBER)
    if(_v8_lines MATCHES "V8_${_part} ([0-9]+)")
      list(APPEND V8_VERSION "${CMAKE_MATCH_1}")
    endif()
  endforeach()
  list(JOIN V8_VERSION "." V8_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(V8 REQUIRED_VARS V8_LIBRARY V8_INCLUDE_DIR VERSION_VAR V8_VERSION)
mark_as_advanced(V8_INCLUDE_DIR V8_LIBRARY)

if(V8_FOUND AND NOT TARGET V8::V8)
  find_package(Threads REQUIRED)
  add_library(V8::V8 UNKNOWN IMPORTED)
  file(REAL_PATH "${V8_LIBRARY}" _v8_location)
  set_target_properties(V8::V8 PROPERTIES IMPORTED_LOCATION "${_v8_location}"
                                          INTERFACE_INCLUDE_DIRECTORIES "${V8_INCLUDE_DIR}")
  target_link_libraries(V8::V8 INTERFACE Threads::Threads ${CMAKE_DL_LIBS})
  # Debian keeps the headers that node's own interface does not need, fast API calls among them, in a second place.
  get_filename_component(_v8_more "${V8_INCLUDE_DIR}/../nodejs/deps/v8/include" ABSOLUTE)
  if(NOT EXISTS "${V8_INCLUDE_DIR}/v8-fast-api-calls.h" AND EXISTS "${_v8_more}/v8-fast-api-calls.h")
    set_property(TARGET V8::V8 APPEND PROPERTY INTERFACE_INCLUDE_DIRECTORIES "${_v8_more}")
  endif()

  # Part of V8's layout is decided by definitions which its headers leave to the embedder. libnode's config.gypi names
  # those it was built with. Elsewhere the embedder adds its own to V8::V8.
  if(EXISTS "${V8_INCLUDE_DIR}/config.gypi")
    file(READ "${V8_INCLUDE_DIR}/config.gypi" _v8_gypi)
    foreach(_pair
            v8_enable_pointer_compression=V8_COMPRESS_POINTERS
            v8_enable_31bit_smis_on_64bit_arch=V8_31BIT_SMIS_ON_64BIT_ARCH
            v8_enable_sandbox=V8_ENABLE_SANDBOX
            v8_enable_map_packing=V8_MAP_PACKING)
      string(REPLACE "=" ";" _pair "${_pair}")
      list(GET _pair 0 _setting)
      list(GET _pair 1 _definition)
      if(_v8_gypi MATCHES "'${_setting}': *1")
        target_compile_definitions(V8::V8 INTERFACE "${_definition}")
      endif()
    endforeach()
    if(_v8_gypi MATCHES "'v8_promise_internal_field_count': *([0-9]+)")
      target_compile_definitions(V8::V8 INTERFACE "V8_PROMISE_INTERNAL_FIELD_COUNT=${CMAKE_MATCH_1}")
    endif()
  endif()

  # A V8 of its own keeps its default platform in a second library.
  if(NOT V8_LIBRARY MATCHES "libnode|v8_monolith")
    get_filename_component(_v8_libdir "${V8_LIBRARY}" DIRECTORY)
    find_library(V8_PLATFORM_LIBRARY v8_libplatform PATHS "${_v8_libdir}" NO_DEFAULT_PATH)
    mark_as_advanced(V8_PLATFORM_LIBRARY)
    if(V8_PLATFORM_LIBRARY)
      target_link_libraries(V8::V8 INTERFACE "${V8_PLATFORM_LIBRARY}")
    endif()
  endif()
endif()
