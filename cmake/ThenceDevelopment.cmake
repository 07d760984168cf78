# SPDX-License-Identifier: MIT
# What holds for everything that this repository builds itself, and for nothing that embeds it.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(THENCE_CCACHE ccache)
  mark_as_advanced(THENCE_CCACHE)
  if(THENCE_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${THENCE_CCACHE}")
  endif()
endif()

# As distributions build; -O3 is what a host may choose for itself.
string(REPLACE "-O3" "-O2" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")

add_compile_options(-Wall -Wextra -Wconversion -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # g++ 12 sees an overlap in every std::string that is put together from a literal (GCC bug 105651).
  add_compile_options(-Wno-restrict)
endif()
if(THENCE_WERROR)
  add_compile_options(-Werror)
endif()

if(THENCE_SANITIZE)
  list(JOIN THENCE_SANITIZE "," _sanitizers)
  add_compile_options(-fsanitize=${_sanitizers} -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${_sanitizers})
  if("undefined" IN_LIST THENCE_SANITIZE)
    # vptr asks for the type information of V8's classes, and libnode is built without any.
    add_compile_options(-fno-sanitize=vptr -fno-sanitize-recover=all)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # These two follow values through the sanitizers' own code and report what is not there.
    add_compile_options(-Wno-maybe-uninitialized -Wno-stringop-overflow)
  endif()
endif()
