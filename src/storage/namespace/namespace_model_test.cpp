// Random changes and questions, held against a map that knows everything. Keys are made of pieces that
// are hard to order: '-' and '.' lie before '/', '0' behind it; pages are short, so that everything
// happens at their borders, too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "storage/key.h"
#include "storage/namespace/key_order.h"
#include "storage/namespace/names_fixture.h"

namespace atl::storage {
namespace {

using Random = std::mt19937;

size_t pick(Random& random, size_t count) {
  return std::uniform_int_distribution<size_t>(0, count - 1)(random);
}

std::string random_key(Random& random) {
  static const std::vector<std::string> pieces = {
      "a", "a-", "a.", "a0", "b", "ab", "", "..", "c", "\xff", "a/", "a-/"};
  std::string key;
  for (size_t i = pick(random, 4) + 1; i > 0; --i) {
    key += pieces[pick(random, pieces.size())];
    if (i > 1) key += '/';
  }
  return key.empty() ? "a" : key;
}

// The truth, worked out from the keys alone.
struct Truth {
  std::set<std::string> keys;

  std::set<std::string> children(const std::string& path) const {
    const std::string directory = path.empty() ? "" : path + "/";
    std::set<std::string> names;
    for (const auto& key : keys) {
      if (!key.starts_with(directory) || key == directory) continue;
      const auto rest = key.substr(directory.size());
      const auto name = rest.substr(0, rest.find('/'));
      if (can_be_name(name)) names.insert(name);
    }
    return names;
  }
  bool is_directory(const std::string& path) const {
    const auto at = keys.lower_bound(path + "/");
    return at != keys.end() && at->starts_with(path + "/");
  }
  uint64_t hidden() const {
    uint64_t count = 0;
    for (const auto& key : keys) {
      if (!can_be_shown(key) || (!key.ends_with('/') && is_directory(key))) ++count;
    }
    return count;
  }
  std::vector<std::string> below(const std::string& prefix) const {
    std::vector<std::string> found;
    for (const auto& key : keys) {
      if (key.starts_with(prefix)) found.push_back(key);
    }
    return found;
  }
};

class NamespaceModelTest : public NamesFixture, public testing::WithParamInterface<int> {
 protected:
  void put(const std::string& key) {
    remote_->put(key, std::string(pick(random_, 5), 'x'));
    truth_.keys.insert(key);
  }
  void erase(const std::string& key) {
    remote_->erase(key);
    truth_.keys.erase(key);
  }
  std::string some_key() {
    if (truth_.keys.empty() || pick(random_, 2) == 0) return random_key(random_);
    return *std::next(truth_.keys.begin(),
                      static_cast<ptrdiff_t>(pick(random_, truth_.keys.size())));
  }
  std::string some_path() {
    std::string path = some_key();
    path = path.substr(0, path.rfind('/') + 1);
    while (path.ends_with('/')) path.pop_back();
    return path;
  }

  void ask(Namespace& names) {
    switch (pick(random_, 4)) {
      case 0: {
        const auto key = some_key();
        const auto found = names.lookup(key);
        ASSERT_EQ(found.has_value(), truth_.keys.contains(key)) << key;
        if (found) {
          EXPECT_EQ(found->size_bytes, remote_->content(key)->size()) << key;
        }
        break;
      }
      case 1: {
        const auto path = pick(random_, 2) == 0 ? some_key() : some_path();
        const auto entry = names.lookup_path(path);
        const bool is_directory = path.empty() || truth_.is_directory(path);
        const bool shown =
            path.empty() || (check_key(path) && (is_directory || truth_.keys.contains(path)));
        ASSERT_EQ(entry.has_value(), shown) << path;
        if (entry && !path.empty()) {
          EXPECT_EQ(entry->is_directory, is_directory) << path;
          EXPECT_EQ(entry->has_object, is_directory ? truth_.keys.contains(path + "/") : true)
              << path;
        }
        break;
      }
      case 2:
        check_children(names, some_path());
        break;
      default: {
        auto prefix = some_key();
        prefix.resize(pick(random_, prefix.size() + 1));
        EXPECT_EQ(keys_of(names, prefix), truth_.below(prefix)) << prefix;
      }
    }
  }
  void check_children(Namespace& names, const std::string& path) {
    if (!path.empty() && (!check_key(path) || !truth_.is_directory(path))) {
      EXPECT_EQ(error_of(names.children(path, {}, [](const auto&) { return true; })),
                ErrorCode::kNotFound)
          << path;
      return;
    }
    const auto all = truth_.children(path);
    const std::string after =
        all.empty() || pick(random_, 2) == 0
            ? std::string()
            : *std::next(all.begin(), static_cast<ptrdiff_t>(pick(random_, all.size())));
    std::vector<std::string> expected;
    for (const auto& name : all) {
      const std::string below = path.empty() ? name : path + "/" + name;
      if (name > after) expected.push_back(name + (truth_.is_directory(below) ? "/" : ""));
    }
    EXPECT_EQ(names_in(names, path, after), expected) << path << " after " << after;
  }

  Random random_{static_cast<unsigned>(GetParam())};
  Truth truth_;
};

TEST_P(NamespaceModelTest, without_max_age_every_answer_is_the_buckets) {
  remote_->set_page_keys(1 + pick(random_, 6));
  auto options = this->options();
  options.max_age = std::chrono::seconds(0);
  auto names = *Namespace::open(remote_, options);
  for (int step = 0; step < 400 && !HasFailure(); ++step) {
    switch (pick(random_, 4)) {
      case 0:
        put(random_key(random_));
        break;
      case 1:
        erase(some_key());
        break;
      default:
        ask(*names);
    }
  }
  import_all(*names);
  EXPECT_EQ(names->hidden_keys(), truth_.hidden());
}

TEST_P(NamespaceModelTest, what_we_do_ourselves_needs_no_listing) {
  remote_->set_page_keys(1 + pick(random_, 6));
  for (int i = 0; i < 60; ++i) put(random_key(random_));
  auto names = open();
  import_all(*names);
  const auto lists = remote_->counts().lists;
  for (int step = 0; step < 400 && !HasFailure(); ++step) {
    switch (pick(random_, 4)) {
      case 0: {
        const auto key = random_key(random_);
        put(key);
        ASSERT_TRUE(names->record(remote_->stat(key)->info, nullptr));
        break;
      }
      case 1: {
        const auto key = some_key();
        erase(key);
        ASSERT_TRUE(names->forget(key));
        break;
      }
      default:
        ask(*names);
    }
  }
  EXPECT_EQ(names->hidden_keys(), truth_.hidden());
  EXPECT_EQ(remote_->counts().lists, lists);
  const auto counts = import_all(*names);
  EXPECT_EQ(counts.created + counts.changed + counts.deleted, 0U);
}

TEST_P(NamespaceModelTest, imports_between_changes_come_to_the_truth) {
  remote_->set_page_keys(1 + pick(random_, 6));
  auto names = open();
  for (int round = 0; round < 12 && !HasFailure(); ++round) {
    const auto before = truth_.keys;
    for (size_t i = pick(random_, 40); i > 0; --i) {
      if (pick(random_, 3) == 0) {
        erase(some_key());
      } else {
        put(random_key(random_));
      }
      if (pick(random_, 8) == 0) (void)names->lookup(some_key());
    }
    auto prefix = pick(random_, 3) == 0 ? some_key() : std::string();
    prefix.resize(pick(random_, prefix.size() + 1));
    const auto counts = names->import(prefix, {}, {}, {});
    ASSERT_TRUE(counts) << counts.error().to_string();
    EXPECT_EQ(counts->listed, truth_.below(prefix).size());
    EXPECT_EQ(keys_of(*names, prefix), truth_.below(prefix));
    pass(std::chrono::seconds(61));
    import_all(*names);
    EXPECT_EQ(keys_of(*names, ""), truth_.below(""));
    EXPECT_EQ(names->hidden_keys(), truth_.hidden());
    check_children(*names, some_path());
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, NamespaceModelTest, testing::Range(0, 12));

}  // namespace
}  // namespace atl::storage
