# Compiler-wide settings: warnings as errors on our own code, ccache and mold where they are
# installed. Third-party headers are SYSTEM, so the warnings never fire there.

find_program(ATOLL_CCACHE ccache)
if(ATOLL_CCACHE)
  # Paths are made relative, so that a second checkout of the same sources hits the same cache;
  # the sloppiness entries are the ones ccache's manual asks for with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${ATOLL_CCACHE})
endif()

find_program(ATOLL_MOLD mold)
if(ATOLL_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_library(atoll_options INTERFACE)
# Warnings are errors with the compiler that integration uses; a user's newer one may know warnings
# that nobody here has seen, and must still give him a program. gcc's manual advises against -Werror
# with sanitizers: its warnings about array bounds and uninitialised values are often false there.
set(werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13
   AND NOT ATOLL_SANITIZER)
  set(werror -Werror)
endif()
if(ATOLL_SANITIZER STREQUAL "address")
  # These look at every access of a member, which shows in the time that compiling takes. AddressSanitizer sees most of
  # what comes of such a fault; the fuzz targets, which read what comes from outside, are built with them.
  target_compile_options(atoll_options INTERFACE -fno-sanitize=null,alignment,object-size,vptr)
endif()
target_compile_options(atoll_options INTERFACE -Wall -Wextra ${werror} -Wno-missing-field-initializers
                                               -fno-math-errno -ffp-contract=off)
# Not where clang-tidy reads these commands.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
  # gcc collects its own garbage from 128 MB on, which takes time; a compiler may take 2.5 GB here (job_count in ./run).
  target_compile_options(atoll_options INTERFACE -fpch-preprocess "SHELL:--param ggc-min-heapsize=1000000")
endif()

# For code whose speed nobody waits for: the command line, and tests (cmake/Tests.cmake). It compiles faster. Not with
# torch's precompiled header, which is made for the rooms' options.
add_library(atoll_quick_compile INTERFACE)
target_compile_options(atoll_quick_compile INTERFACE $<$<CONFIG:Release>:-O1>)
