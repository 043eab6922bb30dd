#include "model/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace atl::model {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
// The limit of the format's own reader: a longer header is an attack or damage.
constexpr uint64_t kMostHeaderBytes = 100'000'000;
constexpr const char* kHint = "copy or download the file again";

tl::unexpected<Error> corrupt(std::string_view name, const std::string& what) {
  return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", name, what), kHint);
}

uint64_t read_length(std::span<const std::byte> file) {
  uint64_t length = 0;
  for (size_t i = kLengthBytes; i-- > 0;) length = length << 8 | std::to_integer<uint64_t>(file[i]);
  return length;
}

// What a file is that begins so, where that is no safetensors file; "" = unknown.
std::string_view other_format(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  // torch.save: a zip archive; before version 1.6 a bare pickle (protocol 2 to 5).
  if (text.starts_with("PK\x03\x04")) return "a zip archive, as torch.save writes them";
  if (text.size() > 1 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5) return "a pickle";
  if (text.starts_with("\xff\xd8\xff")) return "a JPEG picture";
  if (text.starts_with("\x89PNG")) return "a PNG picture";
  return {};
}

// Why the first bytes cannot be the header's length.
tl::unexpected<Error> no_header(std::string_view name,
                                std::span<const std::byte> file,
                                uint64_t length) {
  const auto format = other_format(file);
  if (format.starts_with("a zip") || format.starts_with("a pickle")) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: {}, not a safetensors file", name, format),
                "pickles can run code and are never read; convert it once, in Python: "
                "safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
                "\"FILE.safetensors\")");
  }
  if (!format.empty()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: {}, not a safetensors file", name, format),
                "name a file of weights");
  }
  if (file.size() < kLengthBytes) {
    return corrupt(name, fmt::format("{} bytes are too few for a safetensors file", file.size()));
  }
  if (length > kMostHeaderBytes) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: not a safetensors file, or its beginning is damaged", name),
                kHint);
  }
  return corrupt(name,
                 fmt::format("cut off: a header of {} bytes in a file of {}", length, file.size()));
}

std::optional<uint64_t> as_unsigned(const Json& json) {
  if (!json.is_number_unsigned()) return std::nullopt;
  return json.get<uint64_t>();
}

// The product of the shape and the element size; nothing when it does not fit 63 bits.
std::optional<uint64_t> bytes_of(const std::vector<int64_t>& shape, uint64_t element_bytes) {
  uint64_t bytes = element_bytes;
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes)) return std::nullopt;
  }
  if (bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return bytes;
}

// One tensor's entry; offsets still count from the start of the data. The message says what is
// wrong.
tl::expected<SafetensorsEntry, std::string> parse_entry(const Json& json, uint64_t data_bytes) {
  if (!json.is_object()) return tl::unexpected<std::string>("not an object");
  const auto dtype = json.find("dtype");
  const auto shape = json.find("shape");
  const auto offsets = json.find("data_offsets");
  if (dtype == json.end() || shape == json.end() || offsets == json.end() || json.size() != 3) {
    return tl::unexpected<std::string>("needs exactly dtype, shape and data_offsets");
  }
  SafetensorsEntry entry;
  if (dtype->is_string()) entry.dtype = dtype->get<std::string>();
  const uint64_t element_bytes = safetensors_element_bytes(entry.dtype);
  if (element_bytes == 0) {
    return tl::unexpected(fmt::format("unknown dtype {}", dtype->dump(-1, ' ', true)));
  }
  if (!shape->is_array()) return tl::unexpected<std::string>("shape is not a list");
  for (const Json& dimension : *shape) {
    const auto size = as_unsigned(dimension);
    if (!size || *size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return tl::unexpected<std::string>("shape holds something that is not a size");
    }
    entry.shape.push_back(static_cast<int64_t>(*size));
  }
  const auto begin =
      offsets->is_array() && offsets->size() == 2 ? as_unsigned((*offsets)[0]) : std::nullopt;
  const auto end = begin ? as_unsigned((*offsets)[1]) : std::nullopt;
  if (!begin || !end) return tl::unexpected<std::string>("data_offsets are not two sizes");
  if (*begin > *end || *end > data_bytes) {
    return tl::unexpected(
        fmt::format("data [{}, {}) is not inside the file's {} bytes", *begin, *end, data_bytes));
  }
  const auto wanted = bytes_of(entry.shape, element_bytes);
  if (!wanted || *wanted != *end - *begin) {
    return tl::unexpected(fmt::format("{} bytes of data do not fit its shape", *end - *begin));
  }
  entry.begin = *begin;
  entry.size_bytes = *end - *begin;
  return entry;
}

Result<void> parse_metadata(const Json& json, std::string_view name, SafetensorsHeader& header) {
  if (!json.is_object()) return corrupt(name, "__metadata__ is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return corrupt(name, "__metadata__ holds something besides strings");
    header.metadata.emplace(key, value.get<std::string>());
  }
  return {};
}

// The ranges must cover the data without a gap or an overlap, as the format demands.
Result<void> check_cover(const SafetensorsHeader& header,
                         uint64_t data_bytes,
                         std::string_view name) {
  struct Piece {
    uint64_t begin;
    uint64_t end;
    const std::string* tensor;
  };
  std::vector<Piece> pieces;
  for (const auto& [tensor, entry] : header.tensors) {
    pieces.push_back({entry.begin, entry.begin + entry.size_bytes, &tensor});
  }
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t covered = 0;
  for (const Piece& piece : pieces) {
    if (piece.begin != covered) {
      return corrupt(name,
                     fmt::format("tensor {}: data begin at {}, {} the previous end at {}",
                                 *piece.tensor,
                                 piece.begin,
                                 piece.begin < covered ? "before" : "after",
                                 covered));
    }
    covered = piece.end;
  }
  if (covered != data_bytes) {
    return corrupt(name, fmt::format("{} bytes belong to no tensor", data_bytes - covered));
  }
  return {};
}

// nlohmann keeps the last of equal keys without a word; a file with two is refused. The callback
// sees every key of the top level; it also bounds the depth (the parser itself does not recurse).
Result<Json> parse_json(std::string_view text, std::string_view name) {
  std::vector<std::string> keys;
  bool deep = false;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1) keys.push_back(parsed.get<std::string>());
    if (depth > 8) deep = true;
    return !deep;
  };
  Json json = Json::parse(text, watch, /*allow_exceptions=*/false);
  if (deep || !json.is_object()) return corrupt(name, "the header is not a JSON object");
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice != keys.end()) return corrupt(name, fmt::format("tensor {} is there twice", *twice));
  return json;
}

}  // namespace

uint64_t safetensors_element_bytes(std::string_view dtype) {
  if (dtype == "F64" || dtype == "I64") return 8;
  if (dtype == "F32" || dtype == "I32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16") return 2;
  if (dtype == "I8" || dtype == "U8" || dtype == "BOOL") return 1;
  return 0;
}

Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file,
                                                   std::string_view name) {
  if (file.size() < kLengthBytes) return no_header(name, file, 0);
  const uint64_t length = read_length(file);
  if (length > kMostHeaderBytes || length > file.size() - kLengthBytes) {
    return no_header(name, file, length);
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  const Json json = ATOLL_TRY(parse_json(text, name));
  const uint64_t data_begin = kLengthBytes + length;
  const uint64_t data_bytes = file.size() - data_begin;
  SafetensorsHeader header;
  for (const auto& [key, value] : json.items()) {
    if (key == "__metadata__") {
      ATOLL_TRY(parse_metadata(value, name, header));
      continue;
    }
    auto entry = parse_entry(value, data_bytes);
    if (!entry) return corrupt(name, fmt::format("tensor {}: {}", key, entry.error()));
    header.tensors.emplace(key, *std::move(entry));
  }
  ATOLL_TRY(check_cover(header, data_bytes, name));
  for (auto& [tensor, entry] : header.tensors) entry.begin += data_begin;
  return header;
}

std::string make_safetensors_header(const SafetensorsHeader& header) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) json["__metadata__"] = header.metadata;
  for (const auto& [name, entry] : header.tensors) {
    json[name] = {{"dtype", entry.dtype},
                  {"shape", entry.shape},
                  {"data_offsets", {entry.begin, entry.begin + entry.size_bytes}}};
  }
  // Strings that are not UTF-8 are written with replacement characters rather than not at all.
  std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
  std::string bytes;
  for (uint64_t i = 0, length = text.size(); i < kLengthBytes; ++i, length >>= 8) {
    bytes.push_back(static_cast<char>(length & 0xff));
  }
  return bytes + text;
}

}  // namespace atl::model
