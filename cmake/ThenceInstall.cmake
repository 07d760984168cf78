# SPDX-License-Identifier: MIT
# cmake --install: the headers of every layer and adapter, the package for find_package(thence), and thence.pc.
#
# The adapters' headers are installed also where this build has not found their host: the consumer brings it, and its own
# find_package(thence COMPONENTS v8 kj kj_v8) looks for it then.

include(CMakePackageConfigHelpers)

set(_package "${CMAKE_INSTALL_LIBDIR}/cmake/thence")

# The core is exported with its file set. The adapters' targets are made by thenceConfig.cmake, on demand.
install(TARGETS thence EXPORT thenceTargets FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT thenceTargets NAMESPACE thence:: DESTINATION "${_package}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/thence/adapters" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/thence"
        FILES_MATCHING PATTERN "*.hpp")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/thenceConfig.cmake.in" "${PROJECT_BINARY_DIR}/package/thenceConfig.cmake"
                              INSTALL_DESTINATION "${_package}")
# Before 1.0 a minor version may change what a host sees.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/thenceConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/package/thenceConfig.cmake" "${PROJECT_BINARY_DIR}/package/thenceConfigVersion.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/FindxxHash.cmake" "${PROJECT_SOURCE_DIR}/cmake/FindV8.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/FindKJ.cmake"
        DESTINATION "${_package}")

# The prefix is written relative to the .pc file, so that the installed tree may be moved.
file(RELATIVE_PATH _pc_to_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" _pc_to_prefix "${_pc_to_prefix}")
list(TRANSFORM CMAKE_DL_LIBS PREPEND "-l" OUTPUT_VARIABLE _pc_libs)
foreach(_name thence thence-kj)
  configure_file("${PROJECT_SOURCE_DIR}/cmake/${_name}.pc.in" "${PROJECT_BINARY_DIR}/package/${_name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/package/${_name}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endforeach()
