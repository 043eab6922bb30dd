// Detections as a COCO results file.
#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "eval/eval.h"

namespace atl::eval {
namespace {

void append_number(std::string& text, double number) {
  if (std::isfinite(number)) {
    fmt::format_to(std::back_inserter(text), "{}", number);
  } else {
    text += "null";
  }
}

void append_segmentation(std::string& text, const dataset::Rle& mask) {
  fmt::format_to(std::back_inserter(text),
                 ",\"segmentation\":{{\"size\":[{},{}],\"counts\":\"",
                 mask.height,
                 mask.width);
  for (const char c : dataset::rle_to_string(mask)) {
    if (c == '\\') text += '\\';
    text += c;
  }
  text += "\"}";
}

}  // namespace

std::string results_to_json(std::span<const Detection> detections) {
  std::string text = "[";
  for (const Detection& detection : detections) {
    text += text.size() == 1 ? "\n" : ",\n";
    fmt::format_to(std::back_inserter(text),
                   "{{\"image_id\":{},\"category_id\":{},\"bbox\":[",
                   detection.image_id,
                   detection.category_id);
    for (size_t i = 0; i < 4; ++i) {
      if (i > 0) text += ',';
      append_number(text, detection.box[i]);
    }
    text += "],\"score\":";
    append_number(text, detection.score);
    if (!detection.mask.counts.empty()) append_segmentation(text, detection.mask);
    text += '}';
  }
  return text + "\n]\n";
}

}  // namespace atl::eval
