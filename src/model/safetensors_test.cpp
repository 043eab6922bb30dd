#include "model/safetensors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/safetensors_header.h"
#include "storage/fake_store.h"

namespace atl::model {
namespace {

using testing::HasSubstr;

std::vector<std::byte> file_of(const std::string& json, size_t data_bytes) {
  std::string text;
  for (uint64_t i = 0, length = json.size(); i < 8; ++i, length >>= 8) {
    text.push_back(static_cast<char>(length & 0xff));
  }
  text += json + std::string(data_bytes, '\1');
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST(Safetensors, every_dtype_and_shape_survives_a_round_trip) {
  storage::FakeStore store;
  std::map<std::string, at::Tensor> tensors;
  for (const auto type : {at::kDouble,
                          at::kFloat,
                          at::kHalf,
                          at::kBFloat16,
                          at::kLong,
                          at::kInt,
                          at::kShort,
                          at::kChar,
                          at::kByte,
                          at::kBool}) {
    tensors[at::toString(type)] = at::arange(6).view({2, 3}).to(type);
  }
  tensors["scalar"] = at::full({}, 7, at::kLong);
  tensors["empty"] = at::zeros({0, 3});
  tensors["channels last"] =
      at::arange(24, at::kFloat).view({1, 2, 3, 4}).contiguous(at::MemoryFormat::ChannelsLast);
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"é", "\"quoted\""}};
  ASSERT_TRUE(write_safetensors(store, "a.safetensors", tensors, metadata));
  const auto file = read_safetensors(store, "a.safetensors");
  ASSERT_TRUE(file) << file.error().to_string();
  EXPECT_EQ(file->metadata, metadata);
  ASSERT_EQ(file->tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& read = file->tensors.at(name);
    EXPECT_EQ(read.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(read.equal(tensor)) << name;
  }
}

TEST(Safetensors, tensors_keep_their_bytes_alive) {
  auto file = parse_safetensors(
      storage::Blob(file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4)), "x");
  ASSERT_TRUE(file);
  const at::Tensor tensor = file->tensors.at("a");
  *file = {};
  EXPECT_TRUE(tensor.equal(at::ones({4}, at::kByte)));
}

struct Damage {
  std::string json;
  size_t data_bytes;
  std::string message;
};

TEST(Safetensors, damage_is_refused_and_the_tensor_named) {
  const std::vector<Damage> cases = {
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7, "tensor a: data [0, 8)"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9, "1 bytes belong to no"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "tensor a: 8 bytes"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "tensor a: shape holds"},
      {R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8, "tensor a: unknown dtype"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "tensor a: data [8, 0)"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", 8, "tensor a: needs exactly"},
      {R"({"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
       0,
       "tensor a: 0 bytes"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
           "b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
       6,
       "tensor b: data begin at 2, before"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
           "b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
       3,
       "tensor b: data begin at 2, after"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
           "a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
       1,
       "tensor a is there twice"},
      {R"({"__metadata__":{"a":1}})", 0, "__metadata__ holds something besides strings"},
      {R"({"a":)", 0, "the header is not a JSON object"},
      {"[]", 0, "the header is not a JSON object"}};
  for (const Damage& damage : cases) {
    const auto file =
        parse_safetensors(storage::Blob(file_of(damage.json, damage.data_bytes)), "w.safetensors");
    ASSERT_FALSE(file) << damage.json;
    EXPECT_EQ(file.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(file.error().to_string(), HasSubstr("w.safetensors: " + damage.message));
  }
}

TEST(Safetensors, what_is_no_safetensors_file_is_called_by_its_name) {
  using namespace std::string_literals;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"PK\x03\x04\x14\0\0\0archive/data.pkl"s, "pickles can run code and are never read"},
      {"\x80\x02}q\0X\x01\0\0\0a"s, "pickles can run code and are never read"},
      {"\x80\x02}."s, "pickles can run code and are never read"},
      {"\xff\xd8\xff\xe0\0\x10JFIF\0"s, "a JPEG picture, not a safetensors file"},
      {"\x89PNG\r\n\x1a\n\0\0"s, "a PNG picture, not a safetensors file"},
      {"no weights at all"s, "not a safetensors file, or its beginning is damaged"},
      {""s, "0 bytes are too few"},
      {"\x00\x10\0\0\0\0\0\0{"s, "cut off: a header of 4096 bytes in a file of 9"}};
  for (const auto& [bytes, message] : cases) {
    const auto header = parse_safetensors_header(std::as_bytes(std::span(bytes)), "w");
    ASSERT_FALSE(header);
    EXPECT_THAT(header.error().to_string(), HasSubstr(message));
    EXPECT_THAT(header.error().to_string(), testing::Not(HasSubstr("\n")));
  }
}

TEST(Safetensors, a_file_cut_off_anywhere_is_refused) {
  const auto whole = file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::span<const std::byte> part(whole.data(), size);
    EXPECT_FALSE(parse_safetensors_header(part, "x")) << size;
  }
  EXPECT_TRUE(parse_safetensors_header(whole, "x"));
}

}  // namespace
}  // namespace atl::model
