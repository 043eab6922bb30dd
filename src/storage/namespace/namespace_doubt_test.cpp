// What the namespace makes of answers that are not to be believed, or that come too late.
#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "storage/namespace/names_fixture.h"

namespace atl::storage {
namespace {

using std::chrono::seconds;

class NamespaceDoubtTest : public NamesFixture {};

// As an endpoint says that is being set up, or whose bucket is another one's for a while.
TEST_F(NamespaceDoubtTest, that_there_is_no_bucket_is_not_that_nothing_is_in_it) {
  remote_->put("a/b", "b", {{"label", "cat"}});
  const auto names = open();
  ASSERT_TRUE(names->lookup("a/b"));
  pass(std::chrono::hours(1));
  remote_->set_fault([](std::string_view call) -> std::optional<Error> {
    return Error{ErrorCode::kNotFound, std::string(call), {}, {}};
  });
  const auto none = [](const auto&) { return true; };
  EXPECT_EQ(error_of(names->lookup("a/b")), ErrorCode::kIo);
  EXPECT_EQ(error_of(names->lookup_path("a/b")), ErrorCode::kIo);
  EXPECT_EQ(error_of(names->stat("a/b")), ErrorCode::kIo);
  EXPECT_EQ(error_of(names->children("", "", none)), ErrorCode::kIo);
  EXPECT_EQ(error_of(names->list("", none)), ErrorCode::kIo);
  EXPECT_EQ(error_of(names->import("", {}, {}, [](const ImportCounts&) {})), ErrorCode::kIo);
  remote_->set_fault({});
  EXPECT_EQ(names->stat("a/b")->metadata.at("label"), "cat");
}

TEST_F(NamespaceDoubtTest, what_is_doubted_is_asked_for_again_and_kept_until_then) {
  remote_->put("a/b", "b");
  const auto names = open();
  ASSERT_TRUE(names->lookup("a/b"));
  ASSERT_TRUE(names->doubt("a/b", "another version's"));
  remote_->set_fault([](std::string_view call) -> std::optional<Error> {
    return Error{ErrorCode::kIo, std::string(call), {}, {}};
  });
  EXPECT_TRUE(names->lookup("a/b"));
  ASSERT_TRUE(names->doubt("a/b", ""));
  ASSERT_TRUE(names->doubt("a/none", ""));
  EXPECT_EQ(error_of(names->lookup("a/b")), ErrorCode::kIo);
  remote_->set_fault({});
  remote_->put("a/b", "longer");
  EXPECT_EQ(names->lookup("a/b")->size_bytes, 6U);
}

// Its answers may be overtaken.
class SlowRemote : public FakeRemote {
 public:
  Result<RemoteObject> stat(std::string_view key) override {
    auto object = FakeRemote::stat(key);
    if (const auto meanwhile = std::exchange(meanwhile_, nullptr)) meanwhile();
    return object;
  }
  std::function<void()> meanwhile_;
};

TEST_F(NamespaceDoubtTest, metadata_that_a_listing_has_overtaken_are_not_taken_for_the_laters) {
  const auto remote = std::make_shared<SlowRemote>();
  remote->set_etags_by_content(true);
  remote->put("a", "same", {{"label", "cat"}});
  const auto names = Namespace::open(remote, options()).value();
  ASSERT_TRUE(names->lookup("a"));
  remote->meanwhile_ = [&] {
    remote->set_clock_ahead(seconds(10));
    remote->put("a", "same", {{"label", "dog"}});
    pass(seconds(10));
    import_all(*names);
  };
  EXPECT_EQ(names->stat("a")->metadata.at("label"), "cat");
  EXPECT_EQ(names->stat("a")->metadata.at("label"), "dog");
}

}  // namespace
}  // namespace atl::storage
