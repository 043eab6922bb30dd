#include "job/agent_channel.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

namespace atl::job {
namespace {

// Until there are so many messages, or it is closed.
Result<std::vector<AgentMessage>> receive(AgentChannel& channel, size_t count) {
  std::vector<AgentMessage> all;
  while (all.size() < count) {
    pollfd waiting{channel.fd(), channel.events(), 0};
    ::poll(&waiting, 1, 10'000);
    const auto some = ATOLL_TRY(channel.serve());
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

class AgentChannelTest : public ::testing::Test {
 protected:
  AgentChannel accept() {
    for (;;) {
      pollfd waiting{listener_.fd.get(), POLLIN, 0};
      ::poll(&waiting, 1, 10'000);
      if (auto channel = AgentChannel::accept(listener_)) return *std::move(channel);
    }
  }
  // A plain connection, for bytes that no launcher sends.
  UniqueFd raw() const {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(listener_.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }

  Listener listener_ = *listen_anywhere();
};

TEST_F(AgentChannelTest, what_is_sent_before_it_is_connected_arrives_in_order) {
  AgentChannel to = *AgentChannel::connect("127.0.0.1", listener_.port);
  for (uint64_t i = 0; i < 1000; ++i) to.send(AliveMessage{i});
  AgentChannel from = accept();
  EXPECT_EQ(from.peer(), "127.0.0.1");
  size_t got = 0;
  while (got < 1000) {
    ASSERT_TRUE(to.serve());
    const auto messages = from.serve();
    ASSERT_TRUE(messages);
    for (const auto& message : *messages) {
      EXPECT_EQ(std::get<AliveMessage>(message).number, got++);
    }
  }
  EXPECT_TRUE(to.all_sent());
}

TEST_F(AgentChannelTest, its_end_is_an_error_behind_what_was_said) {
  AgentChannel from = [&] {
    AgentChannel to = *AgentChannel::connect("127.0.0.1", listener_.port);
    to.send(OverMessage{0, ""});
    while (!to.all_sent()) EXPECT_TRUE(to.serve());
    return accept();
  }();
  EXPECT_EQ(receive(from, 1)->size(), 1);
  EXPECT_EQ(receive(from, 1).error().code, ErrorCode::kIo);
}

TEST_F(AgentChannelTest, a_port_that_nobody_listens_on_is_an_error) {
  const uint16_t port = listener_.port;
  listener_.fd = UniqueFd();
  AgentChannel to = *AgentChannel::connect("127.0.0.1", port);
  EXPECT_EQ(receive(to, 1).error().code, ErrorCode::kIo);
  EXPECT_FALSE(AgentChannel::connect("no-such-host", 1)) << "addresses are numbers";
}

TEST_F(AgentChannelTest, what_is_no_message_ends_it) {
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100'000, 'x')}) {
    const UniqueFd fd = raw();
    AgentChannel from = accept();
    EXPECT_EQ(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    EXPECT_EQ(receive(from, 1).error().code, ErrorCode::kInvalidInput);
  }
}

TEST_F(AgentChannelTest, who_reads_nothing_is_given_up) {
  const UniqueFd fd = raw();
  AgentChannel from = accept();
  bool open = true;
  for (int i = 0; i < 100'000 && open; ++i) {
    from.send(OverMessage{0, std::string(2000, 'x')});
    open = from.serve().has_value();
  }
  EXPECT_FALSE(open);
}

TEST(OwnAddresses, are_numbers_and_of_the_interface_that_is_named) {
  for (const auto& address : own_addresses("")) {
    EXPECT_TRUE(AgentChannel::connect(address, 9)) << address;
  }
  EXPECT_THAT(own_addresses("lo"), ::testing::Contains("127.0.0.1"));
  EXPECT_TRUE(own_addresses("no-such-interface").empty());
}

}  // namespace
}  // namespace atl::job
