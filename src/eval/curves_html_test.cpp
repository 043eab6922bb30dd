#include "eval/curves_html.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "eval/eval.h"

namespace atl::eval {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

size_t count(std::string_view text, std::string_view part) {
  size_t number = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) {
    ++number;
  }
  return number;
}

// Whether every tag is closed in the order in which they were opened.
bool is_nested(std::string_view html) {
  std::vector<std::string> open;
  for (size_t at = html.find('<'); at != std::string_view::npos; at = html.find('<', at + 1)) {
    const size_t end = html.find('>', at);
    if (end == std::string_view::npos) return false;
    const std::string_view tag = html.substr(at + 1, end - at - 1);
    if (tag.starts_with('!') || tag.ends_with('/')) continue;
    if (!tag.starts_with('/')) {
      open.emplace_back(tag.substr(0, tag.find(' ')));
    } else if (open.empty() || open.back() != tag.substr(1)) {
      return false;
    } else {
      open.pop_back();
    }
  }
  return open.empty();
}

Evaluation golden_evaluation() {
  std::ifstream stream(ATOLL_SOURCE_DIR "/reference/goldens/coco_eval.json", std::ios::binary);
  const Json file = Json::parse(std::string(std::istreambuf_iterator<char>(stream), {}));
  const Json& golden = file["cases"][0];
  const auto truth =
      dataset::CocoDataset::parse(golden["truth"].get_ref<const std::string&>(), "truth").value();
  auto detections =
      parse_results(golden["results"].get_ref<const std::string&>(), "results", truth).value();
  return evaluate(truth, std::move(detections), {}).value();
}

std::string picture_of(const Evaluation& evaluation, std::string_view title = "curves") {
  std::vector<KindCurves> kinds;
  for (const auto& [kind, result] : evaluation.kinds) kinds.push_back({kind, &result});
  return curves_html(title, evaluation.categories, kinds);
}

TEST(CurvesHtml, has_a_plot_for_all_and_one_for_each_category_with_ground_truth) {
  const Evaluation evaluation = golden_evaluation();
  size_t present = 0;
  for (const auto& [kind, result] : evaluation.kinds) {
    present += static_cast<size_t>(
        std::ranges::count_if(result.category_ap, [](double ap) { return ap >= 0; }));
  }
  ASSERT_GT(present, 2U);
  const std::string html = picture_of(evaluation);
  EXPECT_EQ(count(html, "<svg "), evaluation.kinds.size() + present);
  EXPECT_EQ(count(html, "<polyline "), 10 * count(html, "<svg "));
  EXPECT_TRUE(is_nested(html));
}

TEST(CurvesHtml, needs_nothing_from_outside) {
  const std::string html = picture_of(golden_evaluation());
  for (const char* part : {"<script", "http", "src=", "url(", "@import", "<link"}) {
    EXPECT_THAT(html, Not(HasSubstr(part)));
  }
}

TEST(CurvesHtml, names_are_escaped_and_what_is_no_utf8_is_replaced) {
  Evaluation evaluation = golden_evaluation();
  evaluation.categories[0].name = "<b>\"R&D\"</b>";
  const std::string html = picture_of(evaluation, "a\xff<i>\x01");
  EXPECT_THAT(html, HasSubstr("title=\"&lt;b&gt;&quot;R&amp;D&quot;&lt;/b&gt;\""));
  EXPECT_THAT(html, HasSubstr("<title>a\xef\xbf\xbd&lt;i&gt; </title>"));
  EXPECT_TRUE(is_nested(html));
}

TEST(CurvesHtml, categories_stand_by_falling_ap_and_those_without_ground_truth_are_named) {
  Evaluation evaluation = golden_evaluation();
  evaluation.kinds.erase(IouKind::kMask);
  auto& result = evaluation.kinds.at(IouKind::kBox);
  ASSERT_EQ(evaluation.categories.size(), 4U);
  for (size_t k = 0; k < 4; ++k) evaluation.categories[k].name = std::string(1, "vwxy"[k]);
  result.category_ap = {0.25, 0, -1, 0.5};
  const std::string html = picture_of(evaluation);
  const auto place = [&](const char* name) { return html.find(std::string("title=\"") + name); };
  EXPECT_LT(place("y"), place("v"));
  EXPECT_LT(place("v"), place("w"));
  EXPECT_EQ(place("x"), std::string::npos);
  EXPECT_THAT(html, HasSubstr("Without ground truth: x<"));
}

TEST(CurvesHtml, perfect_detections_lie_on_the_upper_edge) {
  Evaluation evaluation;
  evaluation.categories = {{1, "disc", ""}};
  KindResult& result = evaluation.kinds[IouKind::kMask];
  result.precision.assign(size_t{10} * 101 * 4 * 3, 1);
  result.recall.assign(size_t{10} * 4 * 3, 1);
  result.category_ap = {1};
  result.best_f1 = {OperatingPoint{0.5, 1, 1, 1}};
  const std::string html = picture_of(evaluation);
  EXPECT_EQ(count(html, "points=\"46.0,10.0 546.0,10.0\""), 10U);
  EXPECT_EQ(count(html, "points=\"1.0,5.0 163.0,5.0\""), 10U);
  EXPECT_THAT(html, HasSubstr("cx=\"163.0\" cy=\"5.0\""));
}

TEST(CurvesHtml, no_ground_truth_at_all_is_said) {
  Evaluation evaluation;
  evaluation.kinds[IouKind::kMask] = {};
  EXPECT_THAT(picture_of(evaluation), HasSubstr("No category has ground truth"));
}

}  // namespace
}  // namespace atl::eval
