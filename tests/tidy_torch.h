// The headers that clang-tidy reads once for all files of the torch rooms, 8 s each time otherwise.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>
