# Hot loops that need more of the processor than every x86-64 has. A file NAME_kernel.cpp of a room
# is compiled once for each of the instruction sets below, with ATOLL_KERNEL defined as its name; the
# file puts what it defines into a namespace of that name, its header declares all of them, and the
# caller chooses at run time (see dataset/coco_json_kernel.h and coco_json_dispatch.cpp).
#
# Such a file must share no code with others: the linker keeps one copy of an inline function, and if
# that is the one compiled for AVX-512, every caller gets it. So: no standard library but <cstdint>
# and <cstddef>, everything local in an unnamed namespace. `nm -C` of the objects must show nothing
# defined but the namespaces' own functions.

set(ATOLL_KERNEL_TARGETS baseline)
set(ATOLL_KERNEL_FLAGS_baseline)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND ATOLL_KERNEL_TARGETS avx2 avx512)
  set(ATOLL_KERNEL_FLAGS_avx2 -mavx2 -mbmi -mbmi2 -mpopcnt)
  set(ATOLL_KERNEL_FLAGS_avx512 ${ATOLL_KERNEL_FLAGS_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
endif()

# atoll_kernels(LIBRARY FILES...): adds the files to the library, once for each instruction set.
function(atoll_kernels library)
  foreach(source ${ARGN})
    get_filename_component(name ${source} NAME_WE)
    foreach(target ${ATOLL_KERNEL_TARGETS})
      set(objects ${library}_${name}_${target})
      add_library(${objects} OBJECT ${source})
      target_include_directories(${objects} PRIVATE ${CMAKE_SOURCE_DIR}/src)
      target_compile_definitions(${objects} PRIVATE ATOLL_KERNEL=${target})
      target_compile_options(${objects} PRIVATE ${ATOLL_KERNEL_FLAGS_${target}})
      target_link_libraries(${objects} PRIVATE atoll_options)
      target_sources(${library} PRIVATE $<TARGET_OBJECTS:${objects}>)
    endforeach()
  endforeach()
endfunction()
