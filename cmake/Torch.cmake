# LibTorch as an imported target, made by hand: find_package(Torch) would drag the CUDA tool chain
# in. Only c10 and torch_cpu are linked; the CUDA libraries are opened at run time where a GPU is.

set(ATOLL_TORCH_VERSION 2.11.0)
set(ATOLL_VENV ${CMAKE_SOURCE_DIR}/.venv CACHE PATH "Virtual environment that holds the torch wheel")
file(GLOB ATOLL_TORCH_ROOT ${ATOLL_VENV}/lib/python3*/site-packages/torch)
if(NOT EXISTS "${ATOLL_TORCH_ROOT}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no LibTorch under ${ATOLL_VENV}: run ./run setup first")
endif()
file(READ ${ATOLL_TORCH_ROOT}/version.py ATOLL_TORCH_FOUND)
if(NOT ATOLL_TORCH_FOUND MATCHES "'${ATOLL_TORCH_VERSION}[+']")
  message(FATAL_ERROR "${ATOLL_VENV} holds another torch than ${ATOLL_TORCH_VERSION}: "
                      "delete it and run ./run setup")
endif()

add_library(torch::c10 SHARED IMPORTED)
set_target_properties(torch::c10 PROPERTIES IMPORTED_LOCATION ${ATOLL_TORCH_ROOT}/lib/libc10.so)
add_library(torch::cpu SHARED IMPORTED)
set_target_properties(torch::cpu PROPERTIES IMPORTED_LOCATION ${ATOLL_TORCH_ROOT}/lib/libtorch_cpu.so)
# Searched last: the wheel brings its own fmt (another version, without its library) and more, which
# must not hide the system's.
target_compile_options(torch::cpu INTERFACE
  "SHELL:-idirafter ${ATOLL_TORCH_ROOT}/include"
  "SHELL:-idirafter ${ATOLL_TORCH_ROOT}/include/torch/csrc/api/include")
target_link_libraries(torch::cpu INTERFACE torch::c10)
# libtorch_cpu.so finds libcudart and libcupti by its own run path; the linker must not look.
target_link_options(torch::cpu INTERFACE -Wl,--allow-shlib-undefined)

# One precompiled header for every torch room: 25 s once, instead of 10 s and more for each file.
add_library(atoll_torch_pch STATIC ${CMAKE_SOURCE_DIR}/cmake/torch_pch.cpp)
target_link_libraries(atoll_torch_pch PUBLIC torch::cpu PRIVATE atoll_options)
target_precompile_headers(atoll_torch_pch PRIVATE <ATen/ATen.h> <ATen/Parallel.h>
                          <torch/csrc/autograd/custom_function.h> <torch/library.h>)
