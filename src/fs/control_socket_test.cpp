#include "fs/control_socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/unique_fd.h"
#include "fs/control_stream.h"
#include "fs/fake_file_layer.h"

namespace atl::fs {
namespace {

using Kind = ControlReply::Kind;

class ControlSocket : public ::testing::Test {
 protected:
  ControlSocket() {
    std::string name = (std::filesystem::temp_directory_path() / "atoll-control-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    hooks_.info = [this] { return DaemonInfo{.pid = ::getpid(), .mount_point = directory_}; };
    hooks_.unmount = [this](bool lazily) {
      unmounts_.push_back(lazily);
      return unmount_answer_;
    };
  }
  ~ControlSocket() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    auto server = ControlServer::start(directory_, layer_, hooks_);
    ASSERT_TRUE(server.has_value()) << server.error().to_string();
    server_ = std::move(*server);
  }
  std::vector<ControlReply> ask(const ControlRequest& request) {
    std::vector<ControlReply> replies;
    const auto asked = ask_daemon(directory_, request, {}, [&](const ControlReply& reply) {
      replies.push_back(reply);
      return true;
    });
    EXPECT_TRUE(asked.has_value() && *asked) << (asked ? "no daemon" : asked.error().to_string());
    return replies;
  }
  UniqueFd connected() const {
    const UniqueFd folder(::open(directory_.c_str(), O_PATH | O_DIRECTORY));
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = control_address(folder.get());
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    return socket;
  }

  FakeFileLayer layer_;
  std::string directory_;
  ControlHooks hooks_;
  std::vector<bool> unmounts_;
  Result<void> unmount_answer_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlSocket, without_a_daemon_there_is_none) {
  const auto never = [](const ControlReply&) { return true; };
  EXPECT_EQ(ask_daemon(directory_, {}, {}, never), false);
  EXPECT_EQ(ask_daemon(directory_ + "/none", {}, {}, never), false);
}

TEST_F(ControlSocket, only_its_user_may_connect) {
  start();
  struct stat status {};
  ASSERT_EQ(::stat((directory_ + "/control.sock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(ControlSocket, states_come_in_pieces_and_whole) {
  for (int i = 0; i < 1234; ++i) layer_.put("file-" + std::to_string(i), "12345");
  start();
  const auto replies = ask({.command = ControlCommand::kStatus});
  size_t states = 0;
  for (const ControlReply& reply : replies) states += reply.states.size();
  EXPECT_EQ(states, 1234U);
  EXPECT_EQ(replies.back().kind, Kind::kDone);
  EXPECT_THAT(layer_.calls(), ::testing::Contains("states  false"));
}

TEST_F(ControlSocket, jobs_report_progress_and_their_result) {
  layer_.put("a", "12345");
  layer_.put("b", "123");
  start();
  for (const auto command :
       {ControlCommand::kPreload, ControlCommand::kRelease, ControlCommand::kExport}) {
    const auto replies = ask({.command = command, .path = "d", .glob = "*.jpg", .unused_s = 60});
    // Steps that nobody could see are left out: how many depends on how long they take.
    ASSERT_GE(replies.size(), 2U);
    EXPECT_EQ(replies.front().kind, Kind::kProgress);
    EXPECT_EQ(replies.front().progress.files_in_all, 2U);
    EXPECT_EQ(replies.back().progress.bytes, 8U);
  }
  EXPECT_THAT(layer_.calls(),
              ::testing::IsSupersetOf({"preload d *.jpg", "release d 60", "export d"}));
  EXPECT_EQ(ask({.command = ControlCommand::kImport}).back().imported->listed, 2U);
}

TEST_F(ControlSocket, an_error_of_the_layer_is_the_answer) {
  layer_.fail("preload", ENOSPC);
  start();
  const auto replies = ask({.command = ControlCommand::kPreload});
  ASSERT_EQ(replies.back().kind, Kind::kError);
  EXPECT_THAT(replies.back().error.to_string(), ::testing::HasSubstr("No space left"));
}

TEST_F(ControlSocket, who_it_is_can_be_asked) {
  start();
  EXPECT_EQ(ask({}).back().info->mount_point, directory_);
}

TEST_F(ControlSocket, a_client_that_hangs_up_stops_its_job) {
  layer_.put("a", "1");
  layer_.hold("preload");
  start();
  std::stop_source stop;
  std::thread client([&] {
    const auto asked =
        ask_daemon(directory_, {.command = ControlCommand::kPreload}, stop.get_token(), [](auto&) {
          return true;
        });
    EXPECT_EQ(asked.error().code, ErrorCode::kCancelled);
  });
  layer_.wait_for_held(1);
  stop.request_stop();
  client.join();
  // Another request is answered meanwhile.
  EXPECT_EQ(ask({}).back().kind, Kind::kDone);
  layer_.release("preload");
}

TEST_F(ControlSocket, ending_the_server_stops_what_is_under_way) {
  layer_.put("a", "1");
  layer_.hold("export");
  start();
  std::thread client([&] {
    (void)ask_daemon(
        directory_, {.command = ControlCommand::kExport}, {}, [](auto&) { return true; });
  });
  layer_.wait_for_held(1);
  std::thread end([&] { server_.reset(); });
  layer_.release("export");
  end.join();
  client.join();
  EXPECT_EQ(ask_daemon(directory_, {}, {}, [](auto&) { return true; }), false);
}

TEST_F(ControlSocket, an_unmount_exports_what_is_left) {
  layer_.put("a", "1");
  start();
  EXPECT_FALSE(server_->finish_unmounts());
  const auto replies = ask({.command = ControlCommand::kUnmount, .lazily = true});
  EXPECT_EQ(replies.back().kind, Kind::kDone);
  EXPECT_EQ(unmounts_, std::vector<bool>{true});
  EXPECT_EQ(layer_.calls_of("export"), 1U);
  EXPECT_TRUE(server_->finish_unmounts());
}

TEST_F(ControlSocket, a_refused_unmount_exports_nothing) {
  unmount_answer_ = fail(ErrorCode::kConflict, "in use");
  start();
  const auto replies = ask({.command = ControlCommand::kUnmount});
  EXPECT_EQ(replies.back().error.message, "in use");
  EXPECT_EQ(layer_.calls_of("export"), 0U);
  EXPECT_FALSE(server_->finish_unmounts());
}

TEST_F(ControlSocket, what_is_no_request_is_answered_with_an_error_and_harms_nobody) {
  start();
  const std::string long_frame = std::string("\xff\xff\xff\xff", 4) + "junk";
  for (const std::string& bytes : {frame("no json"), frame("{}"), long_frame}) {
    const UniqueFd socket = connected();
    ASSERT_EQ(::send(socket.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    FrameReader reader(kMaxReplyBytes);
    const auto answer = receive_frame(socket.get(), reader);
    ASSERT_TRUE(answer.has_value() && *answer);
    EXPECT_EQ(parse_reply(**answer)->kind, Kind::kError);
  }
  { const UniqueFd silent = connected(); }
  EXPECT_EQ(ask({}).back().kind, Kind::kDone);
}

TEST_F(ControlSocket, more_connections_than_are_served_are_turned_away_and_later_ones_served) {
  start();
  {
    std::vector<UniqueFd> many;
    for (int i = 0; i < 40; ++i) many.push_back(connected());
    char byte = 0;
    EXPECT_EQ(::recv(many.back().get(), &byte, 1, 0), 0);
  }
  // The server may need a moment to see that they are gone, and turn us away until then.
  for (;;) {
    bool answered = false;
    const auto asked = ask_daemon(directory_, {}, {}, [&](auto&) { return answered = true; });
    if (asked && *asked && answered) break;
  }
}

TEST_F(ControlSocket, a_dead_daemons_socket_is_replaced) {
  start();
  std::filesystem::rename(directory_ + "/control.sock", directory_ + "/kept");
  server_.reset();
  std::filesystem::rename(directory_ + "/kept", directory_ + "/control.sock");
  EXPECT_EQ(ask_daemon(directory_, {}, {}, [](auto&) { return true; }), false);
  start();
  EXPECT_EQ(ask({}).back().kind, Kind::kDone);
}

TEST_F(ControlSocket, a_long_path_is_no_hindrance) {
  const std::string outer = directory_;
  directory_ += "/" + std::string(200, 'd');
  std::filesystem::create_directory(directory_);
  start();
  EXPECT_EQ(ask({}).back().kind, Kind::kDone);
  server_.reset();
  directory_ = outer;
}

TEST(WaitForEnd, returns_when_the_process_has_ended_or_nobody_wants_to_wait) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  EXPECT_TRUE(wait_for_end(child, {}).has_value());
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(wait_for_end(child, {}).has_value());  // gone
  std::stop_source stop;
  stop.request_stop();
  EXPECT_TRUE(wait_for_end(::getpid(), stop.get_token()).has_value());
}

}  // namespace
}  // namespace atl::fs
