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

# With the full set of wheels (./run setup --cuda) also what NCCL's plug-in is made of. The headers are in wheels beside torch;
# libtorch_cuda.so is in every torch wheel, but only loads with the others there.
set(ATOLL_CUDA_VENV ${ATOLL_VENV} CACHE PATH "Virtual environment that holds torch with its CUDA wheels")
file(GLOB ATOLL_CUDA_SITE ${ATOLL_CUDA_VENV}/lib/python3*/site-packages)
find_path(ATOLL_NCCL_INCLUDE nccl.h PATHS ${ATOLL_CUDA_SITE}/nvidia/nccl/include NO_DEFAULT_PATH)
find_path(ATOLL_CUDA_INCLUDE cusolverDn.h PATHS ${ATOLL_CUDA_SITE}/nvidia/cu13/include NO_DEFAULT_PATH)
if(ATOLL_NCCL_INCLUDE AND ATOLL_CUDA_INCLUDE)
  add_library(torch::cuda SHARED IMPORTED)
  set_target_properties(torch::cuda PROPERTIES IMPORTED_LOCATION ${ATOLL_TORCH_ROOT}/lib/libtorch_cuda.so)
  target_compile_options(torch::cuda INTERFACE
    "SHELL:-idirafter ${ATOLL_NCCL_INCLUDE}" "SHELL:-idirafter ${ATOLL_CUDA_INCLUDE}")
  target_link_libraries(torch::cuda INTERFACE ${ATOLL_TORCH_ROOT}/lib/libc10_cuda.so torch::cpu)
endif()

# One precompiled header for every torch room: 25 s once, instead of 10 s and more for each file.
add_library(atoll_torch_pch STATIC ${CMAKE_SOURCE_DIR}/cmake/torch_pch.cpp)
target_link_libraries(atoll_torch_pch PUBLIC torch::cpu PRIVATE atoll_options)
target_precompile_headers(atoll_torch_pch PRIVATE <ATen/ATen.h> <ATen/Parallel.h>
                          <torch/csrc/autograd/custom_function.h> <torch/library.h>)
