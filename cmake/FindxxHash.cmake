# SPDX-License-Identifier: MIT
# FindxxHash: the header of xxHash (0.8 or later). thence inlines it, so that no library is linked.
#
#   xxHash::header                    imported target
#   xxHash_FOUND, xxHash_VERSION, xxHash_INCLUDE_DIR

find_path(xxHash_INCLUDE_DIR xxhash.h)
if(xxHash_INCLUDE_DIR)
  file(STRINGS "${xxHash_INCLUDE_DIR}/xxhash.h" _xxh_lines REGEX "#define XXH_VERSION_(MAJOR|MINOR|RELEASE) ")
  set(xxHash_VERSION "")
  foreach(_part MAJOR MINOR RELEASE)
    if(_xxh_lines MATCHES "XXH_VERSION_${_part} +([0-9]+)")
      list(APPEND xxHash_VERSION "${CMAKE_MATCH_1}")
    endif()
  endforeach()
  list(JOIN xxHash_VERSION "." xxHash_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(xxHash REQUIRED_VARS xxHash_INCLUDE_DIR VERSION_VAR xxHash_VERSION)
mark_as_advanced(xxHash_INCLUDE_DIR)

if(xxHash_FOUND AND NOT TARGET xxHash::header)
  add_library(xxHash::header INTERFACE IMPORTED)
  set_target_properties(xxHash::header PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${xxHash_INCLUDE_DIR}")
endif()
