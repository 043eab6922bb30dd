#include "fs/control_message.h"

#include <gtest/gtest.h>

namespace atl::fs {
namespace {

TEST(ControlMessage, a_request_comes_back_as_it_was) {
  const ControlRequest request{.command = ControlCommand::kPreload,
                               .path = "a/b",
                               .glob = "*.jpg",
                               .recursive = true,
                               .unused_s = 86'400,
                               .lazily = true};
  EXPECT_EQ(parse_request(to_json(request)), request);
  for (const auto command : {ControlCommand::kInfo,
                             ControlCommand::kStatus,
                             ControlCommand::kRelease,
                             ControlCommand::kExport,
                             ControlCommand::kImport,
                             ControlCommand::kUnmount}) {
    EXPECT_EQ(parse_request(to_json({.command = command}))->command, command);
  }
}

TEST(ControlMessage, any_bytes_can_be_a_name) {
  std::string name;
  for (int c = 1; c < 256; ++c) name += static_cast<char>(c);
  std::erase(name, '/');
  EXPECT_EQ(parse_request(to_json({.path = name}))->path, name);
  ControlReply reply{.kind = ControlReply::Kind::kStates};
  reply.states.push_back({.path = name});
  EXPECT_EQ(parse_reply(to_json(reply))->states.at(0).path, name);
}

TEST(ControlMessage, a_path_that_leaves_the_root_is_refused) {
  for (const std::string_view path : {"..", "a/../b", "/a", "a/", "a//b", "./a", "a/."}) {
    const auto parsed = parse_request(to_json({.path = std::string(path)}));
    EXPECT_FALSE(parsed.has_value()) << path;
  }
  EXPECT_FALSE(parse_request(to_json({.path = std::string("a\0b", 3)})).has_value());
  EXPECT_FALSE(parse_request(to_json({.path = std::string(5000, 'a')})).has_value());
  EXPECT_TRUE(parse_request(to_json({.path = "..a/b.."})).has_value());
}

TEST(ControlMessage, what_is_no_request_is_refused) {
  for (const std::string_view text :
       {"",
        "x",
        "[]",
        "{}",
        "{\"command\": 1}",
        "{\"command\": \"none\"}",
        "{\"command\": \"status\", \"path\": 1}",
        "{\"command\": \"status\", \"recursive\": 1}",
        "{\"command\": \"release\", \"unused_s\": -1}",
        "{\"command\": \"release\", \"unused_s\": 1.5}",
        "{\"command\": \"release\", \"unused_s\": 9223372036854775808}",
        "{\"command\": \"status\", \"path\": \"\u0436\"}"}) {
    const auto parsed = parse_request(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidInput);
  }
}

TEST(ControlMessage, replies_come_back_as_they_were) {
  const ControlReply progress{.kind = ControlReply::Kind::kProgress, .progress = {1, 2, 3, 4}};
  auto back = parse_reply(to_json(progress));
  EXPECT_EQ(back->kind, ControlReply::Kind::kProgress);
  EXPECT_EQ(back->progress.bytes_in_all, 4U);

  ControlReply done{.imported = storage::ImportCounts{.listed = 7, .deleted = 2}};
  done.info = DaemonInfo{.pid = 12, .mount_point = "/mnt", .counts = {.conflicts = 5}};
  back = parse_reply(to_json(done));
  EXPECT_EQ(back->kind, ControlReply::Kind::kDone);
  EXPECT_EQ(back->imported->listed, 7U);
  EXPECT_EQ(back->info->mount_point, "/mnt");
  EXPECT_EQ(back->info->counts.conflicts, 5U);

  const ControlReply error{
      .kind = ControlReply::Kind::kError,
      .error = {ErrorCode::kConflict, "what \xff", "do this", {"inner", "outer"}}};
  back = parse_reply(to_json(error));
  EXPECT_EQ(back->error.code, ErrorCode::kConflict);
  EXPECT_EQ(back->error.to_string(), error.error.to_string());

  ControlReply states{.kind = ControlReply::Kind::kStates};
  states.states.push_back({.path = "a", .exists = true, .released = true, .size_bytes = 9});
  back = parse_reply(to_json(states));
  ASSERT_EQ(back->states.size(), 1U);
  EXPECT_TRUE(back->states[0].exists && back->states[0].released && !back->states[0].dirty);
  EXPECT_EQ(back->states[0].size_bytes, 9U);
}

TEST(ControlMessage, frames_are_cut_where_they_end_however_the_bytes_come) {
  const std::string bytes = frame("one") + frame("") + frame("three");
  FrameReader reader(100);
  std::vector<std::string> found;
  for (const char byte : bytes) {
    reader.add({&byte, 1});
    for (;;) {
      const auto next = reader.next();
      ASSERT_TRUE(next.has_value());
      if (!*next) break;
      found.push_back(**next);
    }
  }
  EXPECT_EQ(found, (std::vector<std::string>{"one", "", "three"}));
}

TEST(ControlMessage, a_frame_that_is_too_long_is_refused_before_it_has_come) {
  FrameReader reader(100);
  reader.add(frame(std::string(101, 'x')).substr(0, kFrameHeaderBytes));
  EXPECT_FALSE(reader.next().has_value());
}

}  // namespace
}  // namespace atl::fs
