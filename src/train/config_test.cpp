#include "train/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "train/config_keys.h"

namespace atl::train {
namespace {

using testing::HasSubstr;

Result<RunConfig> parse(std::string toml, std::vector<std::string> sets = {}) {
  return parse_config({"run.toml", std::move(toml), std::move(sets)});
}

std::string error_of(std::string toml, std::vector<std::string> sets = {}) {
  const auto result = parse(std::move(toml), std::move(sets));
  if (result) return "no error";
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidInput);
  return result.error().to_string();
}

TEST(Config, an_empty_file_gives_the_default_preset) {
  const auto config = parse("");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->preset, "r50_fpn");
  EXPECT_EQ(config->model, *model::preset("r50_fpn"));
}

TEST(Config, the_file_lies_over_the_preset_and_sets_over_the_file) {
  const auto config = parse("preset = 'tiny'\n[train]\nglobal_batch = 4\nseed = 3\n",
                            {"train.global_batch=2",
                             "data.path=./my data",
                             "train.milestones=[0.5, 0.75]",
                             "model.norm=batch",
                             "train.bf16=true"});
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_EQ(config->train.steps, 400);
  EXPECT_EQ(config->train.global_batch, 2);
  EXPECT_EQ(config->train.seed, 3U);
  EXPECT_EQ(config->data.path, "./my data");
  EXPECT_EQ(config->train.milestones, (std::vector<double>{0.5, 0.75}));
  EXPECT_EQ(config->model.norm, model::Norm::kBatchNorm);
  EXPECT_TRUE(config->train.bf16);
}

TEST(Config, a_preset_named_by_a_set_comes_before_the_file) {
  const auto config = parse("preset = 'r50_fpn'\n[train]\nseed = 9", {"preset=tiny"});
  ASSERT_TRUE(config);
  EXPECT_EQ(config->train.steps, 400);
  EXPECT_EQ(config->train.seed, 9U);
}

TEST(Config, a_typo_gets_the_nearest_key_and_its_place) {
  EXPECT_EQ(error_of("[train]\nseed = 1\nglobal_bach = 4\n"),
            "run.toml:3:1: unknown key train.global_bach (did you mean train.global_batch?)");
  EXPECT_EQ(error_of("", {"train.stps=4"}),
            "--set train.stps=4: unknown key train.stps (did you mean train.steps?)");
  EXPECT_THAT(error_of("steps = 4"), HasSubstr("did you mean train.steps?"));
  EXPECT_THAT(error_of("[model]\nseed = 4"), HasSubstr("did you mean train.seed?"));
  EXPECT_THAT(error_of("[trian]\nseed = 4"),
              HasSubstr("unknown section [trian] (did you mean train?)"));
  EXPECT_THAT(error_of("qwertyuiop = 4"), HasSubstr("atoll train --help"));
  EXPECT_THAT(error_of("preset = 'tny'"), HasSubstr("did you mean tiny?"));
}

TEST(Config, malformed_toml_is_named_with_line_and_column) {
  EXPECT_THAT(error_of("[train]\nseed = = 3\n"), HasSubstr("run.toml:2:"));
}

TEST(Config, a_wrong_type_or_range_names_the_key_and_what_is_allowed) {
  EXPECT_EQ(error_of("[train]\nsteps = 'many'"),
            "run.toml:2:9: train.steps must be a whole number");
  EXPECT_THAT(error_of("[train]\nglobal_batch = 0"), HasSubstr("must be from 1 to"));
  EXPECT_THAT(error_of("[train]\nlearning_rate = nan"), HasSubstr("train.learning_rate"));
  EXPECT_THAT(error_of("[train]\nclip_norm = inf"), HasSubstr("train.clip_norm"));
  EXPECT_THAT(error_of("[train]\nbf16 = 1"), HasSubstr("must be true or false"));
  EXPECT_THAT(error_of("device = 'gpu'"), HasSubstr("must be one of: auto, cpu, cuda"));
  EXPECT_THAT(error_of("[model]\nimage_mean = [1, 2]"), HasSubstr("a list of 3 numbers"));
  EXPECT_THAT(error_of("[data]\nthreads = 99999999999"), HasSubstr("data.threads"));
  EXPECT_THAT(error_of("", {"train.steps=1 2"}), HasSubstr("not a TOML value"));
  EXPECT_THAT(error_of("", {"train.steps=1\nx=2"}), HasSubstr("not a TOML value"));
  EXPECT_THAT(error_of("", {"train.steps"}), HasSubstr("no value"));
  EXPECT_THAT(error_of("[model]\nnum_classes = 4"), HasSubstr("comes from the categories"));
  EXPECT_THAT(error_of("[train]\nglobal_batch = 6\naccumulation = 4"), HasSubstr("multiple"));
  EXPECT_THAT(error_of("[train]\nmilestones = [0.9, 0.1]"), HasSubstr("increase"));
  EXPECT_THAT(error_of("[data]\nmin_sizes_px = [640, 0]"), HasSubstr("must be from 1 to 8192"));
  EXPECT_THAT(error_of("[data]\nlsj_size_px = 512\nlsj_min_scale = 3"),
              HasSubstr("greater than data.lsj_max_scale"));
  EXPECT_THAT(error_of("[data]\nlsj_size_px = 512\nmin_sizes_px = [640]"),
              HasSubstr("leave one of them out"));
  EXPECT_THAT(error_of("[data]\nhue = 0.6"), HasSubstr("data.hue = 0.6 must be from 0 to 0.5"));
}

TEST(Config, what_is_written_reads_back_to_the_same) {
  for (const auto& preset : model::preset_names()) {
    auto config = parse("", {"preset=" + preset});
    ASSERT_TRUE(config);
    config->data.path = "a \"b\"\\c\n\x01ü";
    config->train.learning_rate = 0.1 + 0.2;
    config->train.weight_decay = 1e-300;
    config->train.seed = 9223372036854775807ULL;
    config->train.milestones = {};
    config->data.augment.min_sizes_px = {640, 672};
    config->data.augment.hue = 0.1;
    const auto again = parse(to_toml(*config));
    ASSERT_TRUE(again) << again.error().to_string();
    EXPECT_EQ(*again, *config);
  }
}

TEST(Config, every_field_has_a_key) {
  // Structured bindings know the number of fields: a new one fails to compile here until it has a
  // key.
  const RunConfig config;
  [[maybe_unused]] const auto& [path,
                                ta,
                                ti,
                                va,
                                vi,
                                threads,
                                ahead,
                                bad,
                                empty,
                                group,
                                shrink,
                                repeat,
                                flip,
                                augment,
                                limit,
                                limit_val] = config.data;
  [[maybe_unused]] const auto& [sizes,
                                lsj,
                                lsj_min,
                                lsj_max,
                                paste,
                                photo,
                                bright,
                                contr,
                                sat,
                                hue] = augment;
  [[maybe_unused]] const auto& [a,
                                b,
                                c,
                                d,
                                e,
                                f,
                                g,
                                h,
                                i,
                                j,
                                k,
                                l,
                                m,
                                n,
                                o,
                                p,
                                q,
                                r,
                                s,
                                t,
                                u,
                                v,
                                w,
                                x] = config.train;
  size_t data_keys = 0;
  size_t train_keys = 0;
  for (const auto& key : config_keys()) {
    data_keys += key.name.starts_with("data.") ? 1 : 0;
    train_keys += key.name.starts_with("train.") ? 1 : 0;
  }
  EXPECT_EQ(data_keys, 25U);
  EXPECT_EQ(train_keys, 24U);
  // The model's own list, which its weight files are written from.
  const auto model = nlohmann::json::parse(model::to_json(config.model));
  for (const auto& [name, value] : model.items()) {
    const bool has_key = std::ranges::any_of(
        config_keys(), [&](const ConfigKey& key) { return key.name == "model." + name; });
    EXPECT_EQ(has_key, name != "num_classes") << name;
  }
  // Each key has a field of its own.
  RunConfig slots;
  std::set<const void*> fields;
  for (const auto& key : config_keys()) {
    fields.insert(std::visit([](auto* slot) -> const void* { return slot; }, key.slot(slots)));
  }
  EXPECT_EQ(fields.size(), config_keys().size());
}

TEST(Config, only_changes_that_matter_are_listed) {
  const auto before = parse("", {"preset=tiny"});
  ASSERT_TRUE(before);
  auto after = *before;
  after.threads = 7;
  after.train.checkpoint_every = 3;
  EXPECT_TRUE(changes_that_matter(*before, after).empty());
  after.train.learning_rate = 0.5;
  after.model.fpn_channels += 1;
  const auto changes = changes_that_matter(*before, after);
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].key, "train.learning_rate");
  EXPECT_EQ(changes[0].after, "0.5");
  EXPECT_EQ(changes[1].key, "model.fpn_channels");
}

TEST(Config, what_differs_from_the_preset_fits_one_line) {
  const auto config = parse("", {"preset=tiny", "train.steps=40", "out=x"});
  ASSERT_TRUE(config);
  EXPECT_EQ(changes_from_preset(*config), "out = \"x\", train.steps = 40");
}

TEST(Config, a_value_where_a_section_belongs_is_called_so) {
  for (const char* toml :
       {"train = 3", "preset = 'tiny'\ntrain = [1, 2]", "[[train]]\nsteps = 3"}) {
    EXPECT_THAT(error_of(toml),
                HasSubstr("train is a section, not a value (write [train] with its keys below, or "
                          "train.KEY = VALUE)"));
  }
  EXPECT_THAT(error_of("train = 3"), HasSubstr("run.toml:1:1: "));
  EXPECT_TRUE(parse("train.steps = 3"));
}

TEST(Config, a_value_that_config_toml_could_not_hold_is_refused) {
  EXPECT_EQ(
      error_of("", {"data.path=mod\xadl"}),
      "--set data.path: the value is not UTF-8 (rename the file or folder, or link to it by a "
      "name in UTF-8)");
  EXPECT_THAT(error_of("[data]\npath = 'mod\xadl'\n"), HasSubstr("run.toml:2:"));
  EXPECT_TRUE(parse("", {"data.path=n\xc3\xa4me"}));
}

TEST(Config, every_key_is_described) {
  const auto text = describe_keys("tiny");
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, HasSubstr("train.steps = 400"));
}

}  // namespace
}  // namespace atl::train
