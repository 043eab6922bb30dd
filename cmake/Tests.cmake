# A program of GoogleTest's, of rooms without torch:
#
#   atoll_test_program(NAME SOURCES FILES... LIBRARIES ROOMS...)
#
# A quarter of what compiling such a file takes is GoogleTest's headers, so they are precompiled, and as much is
# optimising assertions, which the sanitizers' builds do without; the rooms under test keep their options there.
add_library(atoll_test_options INTERFACE)
target_link_libraries(atoll_test_options INTERFACE atoll_options atoll_quick_compile GTest::gmock)
target_compile_options(atoll_test_options INTERFACE $<$<CONFIG:RelWithDebInfo>:-O0>)

if(NOT ATOLL_FUZZ)
  add_library(atoll_test_pch STATIC ${CMAKE_SOURCE_DIR}/cmake/test_pch.cpp)
  target_link_libraries(atoll_test_pch PRIVATE atoll_test_options fmt::fmt)
  # For programs, which are position independent in another way than libraries.
  set_target_properties(atoll_test_pch PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(atoll_test_pch PRIVATE -fPIE)
  target_precompile_headers(atoll_test_pch PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
endif()

function(atoll_test_program name)
  cmake_parse_arguments(TEST "" "" "LIBRARIES;SOURCES" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE atoll_test_options ${TEST_LIBRARIES} GTest::gmock GTest::gtest_main)
  target_precompile_headers(${name} REUSE_FROM atoll_test_pch)
endfunction()
