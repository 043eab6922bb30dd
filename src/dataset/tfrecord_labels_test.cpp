#include "dataset/tfrecord_labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atl::dataset {
namespace {

using testing::HasSubstr;

LabelMap parsed(std::string_view text) {
  auto map = LabelMap::parse(text);
  EXPECT_TRUE(map.has_value()) << map.error().to_string();
  return map ? *std::move(map) : LabelMap();
}

TEST(LabelMap, reads_the_usual_forms) {
  const LabelMap map = parsed(R"(# COCO
item {
  name: "/m/01g317"
  id: 1
  display_name: "person"
}
item { id: 3 name: 'it\'s a "car"' }  item: < id: 2, name: "two" " words"; >
)");
  ASSERT_EQ(map.items().size(), 3U);
  EXPECT_EQ(map.items()[0], (LabelMapItem{1, "/m/01g317", "person"}));
  EXPECT_EQ(map.items()[0].shown(), "person");
  EXPECT_EQ(map.items()[1], (LabelMapItem{2, "two words", ""}));
  EXPECT_EQ(map.find(3)->name, "it's a \"car\"");
  EXPECT_EQ(map.find(4), nullptr);
}

TEST(LabelMap, finds_a_class_by_either_name) {
  const LabelMap map = parsed(
      "item{id:1 name:'/m/1' display_name:'person'} item{id:2 name:'a'} item{id:3 name:'a'}");
  EXPECT_EQ(map.id_of("/m/1"), 1);
  EXPECT_EQ(map.id_of("person"), 1);
  EXPECT_EQ(map.id_of("a"), std::nullopt);  // two have it
  EXPECT_EQ(map.id_of("b"), std::nullopt);
}

TEST(LabelMap, other_fields_are_passed_over) {
  const LabelMap map = parsed(R"(
future: 5
item {
  id: 7 frequency: FREQUENT instance_count: 12
  keypoints { id: 3 label: "nose" inner < deep: [1, 2, {x: 'y'}] > }
  ancestor_ids: ["/m/1", "/m/2"]
  name: "seven"
  score: -1.5e-3
})");
  ASSERT_EQ(map.items().size(), 1U);
  EXPECT_EQ(map.items()[0], (LabelMapItem{7, "seven", ""}));
}

TEST(LabelMap, escapes_are_bytes) {
  EXPECT_EQ(parsed(R"(item{id:1 name:'\303\244\x41\n\t\\'})").items()[0].name,
            "\xc3\xa4"
            "A\n\t\\");
}

TEST(LabelMap, an_empty_text_has_no_items) { EXPECT_TRUE(parsed(" # nothing\n").items().empty()); }

struct Wrong {
  const char* text;
  const char* why;
};

TEST(LabelMap, what_is_no_label_map_is_refused_with_the_line) {
  const Wrong cases[] = {
      {"item { id: 1 name: 'a'", "the text ends"},
      {"\n\nitem { name: 'a' }", "line 3: an item without id"},
      {"item { id: 1 }", "without name"},
      {"item { id: x name: 'a' }", "\"x\" is no whole number"},
      {"item { id: 99999999999999999999 name: 'a' }", "is no whole number"},
      {"item { id: 1 name: a }", "a string in quotes"},
      {"item { id: 1 name: 'a\n' }", "without its end"},
      {"item { id: 1 name: '\\q' }", "the escape '\\q'"},
      {"item { id: 1 name: '\\777' }", "the escape"},
      {"item 5", "expected '{'"},
      {"item { id: 1 name: 'a' } item { id: 1 name: 'b' }", "the id 1 appears twice"},
      {"{}", "expected a name"},
      {"stray", "expected ':' or '{'"},
  };
  for (const auto& [text, why] : cases) {
    const auto map = LabelMap::parse(text);
    ASSERT_FALSE(map.has_value()) << text;
    EXPECT_EQ(map.error().code, ErrorCode::kInvalidInput);
    EXPECT_THAT(map.error().to_string(), HasSubstr(why));
  }
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "a{";
  EXPECT_FALSE(LabelMap::parse(deep).has_value());
}

TEST(LabelMap, what_is_written_comes_back) {
  const std::vector<Category> categories = {
      {0, "plain", "thing"}, {3, "it's \\ \"x\"", ""}, {90, "Sch\xc3\xb6n\nzwei", ""}};
  const LabelMap map = parsed(label_map_text(categories));
  ASSERT_EQ(map.items().size(), categories.size());
  for (size_t i = 0; i < categories.size(); ++i) {
    EXPECT_EQ(map.items()[i], (LabelMapItem{categories[i].id, categories[i].name, ""}));
  }
}

}  // namespace
}  // namespace atl::dataset
