// Configuration files come from people and from checkpoints. Whatever the bytes: a configuration or
// an error, and what is accepted survives being written and read again. The first line is taken
// for --set, the rest for the file.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "train/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(text.find('\n'), text.size());
  atl::train::ConfigSources sources;
  sources.file_name = "fuzz.toml";
  if (line > 0) sources.sets.emplace_back(text.substr(0, line));
  if (line < text.size()) sources.toml = text.substr(line + 1);
  const auto config = atl::train::parse_config(sources);
  if (!config) {
    (void)config.error().to_string();
    return 0;
  }
  const auto again = atl::train::parse_config({"again.toml", atl::train::to_toml(*config), {}});
  if (!again || !(*again == *config)) std::abort();
  return 0;
}
