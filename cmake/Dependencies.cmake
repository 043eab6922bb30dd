# Where every library comes from: Debian packages, and LibTorch from the PyPI wheel.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(simdjson REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tl-expected REQUIRED)
find_package(PNG REQUIRED)
find_package(GTest REQUIRED)
pkg_check_modules(TOMLPP REQUIRED IMPORTED_TARGET tomlplusplus)
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg libturbojpeg)

if(ATOLL_WITH_TORCH)
  include(Torch)
endif()
