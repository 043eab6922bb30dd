# A room is a folder under src/ (a large one has folders of its own), one static library atoll_ROOM and one test program ROOM_test.
# The dependencies named here are the only rooms its files may include
# (tests/include_check.py holds every #include against them).
#
#   atoll_room(eval ROOMS dataset)            a room without torch
#   atoll_room(model TORCH ROOMS ops)         a room that includes torch
#   ... LIBRARIES PkgConfig::JPEG             third-party libraries
#
# Every room may use base and trace. x_test.cpp beside x.cpp goes into the test program, x_kernel.cpp
# is compiled for several instruction sets (cmake/Kernels.cmake), x_plugin.cpp is a library that is opened at run
# time, made by src/CMakeLists.txt.

function(atoll_room name)
  cmake_parse_arguments(ROOM "TORCH" "" "ROOMS;LIBRARIES;TEST_ROOMS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  set(kernels ${sources})
  list(FILTER kernels INCLUDE REGEX "_kernel\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_(kernel|plugin)\\.cpp$")
  if(NOT sources)
    return()
  endif()

  set(rooms ${ROOM_ROOMS})
  if(NOT name STREQUAL base)
    list(APPEND rooms base)
    if(NOT name STREQUAL trace)
      list(APPEND rooms trace)
    endif()
  endif()
  list(REMOVE_DUPLICATES rooms)
  list(TRANSFORM rooms PREPEND atoll_)

  add_library(atoll_${name} STATIC ${sources})
  atoll_kernels(atoll_${name} ${kernels})
  target_include_directories(atoll_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(atoll_${name} PRIVATE atoll_options PUBLIC ${rooms} ${ROOM_LIBRARIES}
                        fmt::fmt tl::expected Threads::Threads)
  if(ROOM_TORCH)
    target_link_libraries(atoll_${name} PUBLIC torch::cpu)
    target_precompile_headers(atoll_${name} REUSE_FROM atoll_torch_pch)
  endif()

  if(tests AND NOT ATOLL_FUZZ)
    set(test_rooms ${ROOM_TEST_ROOMS})
    list(TRANSFORM test_rooms PREPEND atoll_)
    if(ROOM_TORCH)
      add_executable(${name}_test ${tests})
      target_link_libraries(${name}_test PRIVATE atoll_options atoll_${name} ${test_rooms}
                            GTest::gmock GTest::gtest_main)
      atoll_use_torch_pch(${name}_test)
    else()
      atoll_test_program(${name}_test SOURCES ${tests} LIBRARIES atoll_${name} ${test_rooms})
    endif()
    target_compile_definitions(${name}_test PRIVATE
      ATOLL_SOURCE_DIR="${CMAKE_SOURCE_DIR}" ATOLL_BINARY_DIR="${CMAKE_BINARY_DIR}")
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES LABELS room TIMEOUT 900)
    if(ROOM_TORCH AND NOT name STREQUAL parallel)
      atoll_shares_the_machine(${name})
    endif()
  endif()
endfunction()

# A test with torch beside others: it keeps two processors busy, and OpenMP's threads do not spin for long
# (docs/performance.md, "Threads that share a machine"). The program `atoll` sees to that itself.
function(atoll_shares_the_machine test)
  set_property(TEST ${test} APPEND PROPERTY ENVIRONMENT GOMP_SPINCOUNT=10000)
  set_property(TEST ${test} PROPERTY PROCESSORS 2)
  set_property(TEST ${test} PROPERTY COST 50)  # begun early, for what waits goes beside it
endfunction()

# The precompiled header for a program: -fPIC like the library that it was made for; an executable's
# own -fPIE would not fit it.
function(atoll_use_torch_pch target)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIC)
  target_precompile_headers(${target} REUSE_FROM atoll_torch_pch)
endfunction()
