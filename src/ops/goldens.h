// For tests: the tensors of testdata/ops.txt, which reference/ops_goldens.py makes with
// torchvision.
#pragma once

#include <ATen/ATen.h>

#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace atl::ops {

inline std::map<std::string, at::Tensor> read_goldens() {
  const std::string path = std::string(ATOLL_SOURCE_DIR) + "/src/ops/testdata/ops.txt";
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::map<std::string, at::Tensor> goldens;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string name, kind;
    size_t dimensions = 0;
    words >> name >> kind >> dimensions;
    std::vector<int64_t> shape(dimensions);
    int64_t count = 1;
    for (int64_t& size : shape) {
      words >> size;
      count *= size;
    }
    std::vector<double> values;
    for (double value = 0; words >> value;) values.push_back(value);
    if (static_cast<int64_t>(values.size()) != count) throw std::runtime_error("bad line: " + name);
    goldens[name] =
        at::tensor(values, at::kDouble).view(shape).to(kind == "f" ? at::kFloat : at::kLong);
  }
  return goldens;
}

}  // namespace atl::ops
