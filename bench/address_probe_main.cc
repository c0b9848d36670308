// baton-bench-probe: asks an address by each server's own MAC, in turn and all the time, and says when which of them
// answered: a floating address that two servers hold at once is seen whatever the switches and ARP caches believe. Two
// questions take turns: an ARP request, and a TCP SYN to a closed port (the kernel answers with RST if the address is
// its own). Answers have the kernel's time of arrival. Ends at SIGTERM with one JSON object.
//   baton-bench-probe INTERFACE OWN_ADDRESS ADDRESS NAME=MAC... [--interval-us N] [--port N]
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "bench/address_spans.h"
#include "bench/bench_support.h"

namespace baton::bench {
namespace {

constexpr const char* kUsage =
    "baton-bench-probe INTERFACE OWN_ADDRESS ADDRESS NAME=MAC... [--interval-us N] [--port N]";
constexpr uint16_t kOwnPort = 61000;   // above the range that the kernel hands out
constexpr int64_t kJoinedUs = 100000;  // shorter than any way from one lease to the next
constexpr int64_t kPausesKept = 1000;

volatile sig_atomic_t ended = 0;

using Mac = std::array<uint8_t, 6>;

int64_t clock_us(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return time.tv_sec * int64_t{1000000} + time.tv_nsec / 1000;
}

struct Server {
  std::string name;
  Mac mac{};
  int64_t asked_us = 0;
};

Server server_of(const std::string& text) {
  Server server;
  const size_t equals = text.find('=');
  auto& mac = server.mac;
  if (equals == std::string::npos || std::sscanf(text.c_str() + equals + 1, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0],
                                                 &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6)
    give_up(fmt::format("{}: not NAME=MAC\nusage: {}", text, kUsage));
  server.name = text.substr(0, equals);
  return server;
}

in_addr address_of(const std::string& text) {
  in_addr address{};
  if (::inet_pton(AF_INET, text.c_str(), &address) != 1) give_up(text + " is no IPv4 address");
  return address;
}

uint16_t folded(uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

uint64_t words(const void* data, size_t size) {
  uint64_t sum = 0;
  for (size_t at = 0; at + 1 < size; at += 2) {
    uint16_t word = 0;
    std::memcpy(&word, static_cast<const uint8_t*>(data) + at, 2);
    sum += word;
  }
  return sum;
}

struct ArpFrame {
  ether_header ethernet{};
  ether_arp arp{};
};
static_assert(sizeof(ArpFrame) == sizeof(ether_header) + sizeof(ether_arp));

struct SynFrame {
  ether_header ethernet{};
  iphdr ip{};
  tcphdr tcp{};
} __attribute__((packed));

class Probe {
 public:
  explicit Probe(const Options& options)
      : own_(address_of(options.files().at(1))), wanted_(address_of(options.files().at(2))),
        interval_us_(static_cast<int64_t>(options.number("--interval-us", 1000))),
        port_(static_cast<uint16_t>(options.number("--port", 9))) {
    for (size_t at = 3; at < options.files().size(); ++at) {
      servers_.push_back(server_of(options.files()[at]));
      answers_.emplace_back(servers_.back().name, kJoinedUs);
    }
    open(options.files().front());
    be_punctual();
  }

  void run() {
    int64_t next = clock_us(CLOCK_MONOTONIC);
    begun_ = next;
    while (!ended) {
      for (auto& server : servers_) ask(server);
      ++rounds_;
      next = std::max(next + interval_us_, clock_us(CLOCK_MONOTONIC) - interval_us_);
      listen(next);
    }
    print();
  }

 private:
  void open(const std::string& interface) {
    socket_ = must_call(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL)), "a packet socket");
    ifreq request{};
    std::strncpy(request.ifr_name, interface.c_str(), IFNAMSIZ - 1);
    must_call(::ioctl(socket_, SIOCGIFHWADDR, &request), "the MAC of " + interface);
    std::memcpy(mac_.data(), request.ifr_hwaddr.sa_data, mac_.size());
    sockaddr_ll place{};
    place.sll_family = AF_PACKET;
    place.sll_protocol = htons(ETH_P_ALL);
    place.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
    must_call(::bind(socket_, reinterpret_cast<sockaddr*>(&place), sizeof place), "binding to " + interface);
    const int yes = 1;
    must_call(::setsockopt(socket_, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes), "timestamps");
    const int room = 4 << 20;
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  }

  /// A probe that is held up sees nothing: where it may, it runs before everybody else.
  void be_punctual() {
    const sched_param priority{.sched_priority = 5};
    real_time_ = ::sched_setscheduler(0, SCHED_RR, &priority) == 0;
    ::mlockall(MCL_CURRENT | MCL_FUTURE);
  }

  ether_header ethernet(const Server& server, uint16_t type) const {
    ether_header head{};
    std::memcpy(head.ether_dhost, server.mac.data(), 6);
    std::memcpy(head.ether_shost, mac_.data(), 6);
    head.ether_type = htons(type);
    return head;
  }

  void ask(Server& server) {
    const int64_t now = clock_us(CLOCK_MONOTONIC);
    const int64_t pause = server.asked_us == 0 ? 0 : now - server.asked_us;
    longest_pause_ = std::max(longest_pause_, pause);
    if (pause > 2 * interval_us_ && static_cast<int64_t>(pauses_.size()) < kPausesKept) pauses_.push_back({server.asked_us, now});
    server.asked_us = now;
    rounds_ % 2 == 0 ? ask_arp(server) : ask_tcp(server);
  }

  void ask_arp(const Server& server) {
    ArpFrame frame;
    frame.ethernet = ethernet(server, ETHERTYPE_ARP);
    arphdr head{};
    head.ar_hrd = htons(ARPHRD_ETHER);
    head.ar_pro = htons(ETHERTYPE_IP);
    head.ar_hln = 6;
    head.ar_pln = 4;
    head.ar_op = htons(ARPOP_REQUEST);
    frame.arp.ea_hdr = head;
    std::memcpy(frame.arp.arp_sha, mac_.data(), 6);
    std::memcpy(frame.arp.arp_spa, &own_, 4);
    std::memcpy(frame.arp.arp_tpa, &wanted_, 4);
    send(&frame, sizeof frame);
  }

  void ask_tcp(const Server& server) {
    SynFrame frame;
    frame.ethernet = ethernet(server, ETHERTYPE_IP);
    frame.ip.version = 4;
    frame.ip.ihl = 5;
    frame.ip.tot_len = htons(sizeof(iphdr) + sizeof(tcphdr));
    frame.ip.ttl = 64;
    frame.ip.protocol = IPPROTO_TCP;
    frame.ip.saddr = own_.s_addr;
    frame.ip.daddr = wanted_.s_addr;
    frame.ip.check = folded(words(&frame.ip, sizeof frame.ip));
    frame.tcp.source = htons(kOwnPort);
    frame.tcp.dest = htons(port_);
    frame.tcp.seq = htonl(static_cast<uint32_t>(rounds_));
    frame.tcp.doff = 5;
    frame.tcp.syn = 1;
    frame.tcp.window = htons(1024);
    const uint64_t pseudo = words(&frame.ip.saddr, 8) + htons(IPPROTO_TCP) + htons(sizeof(tcphdr));
    frame.tcp.check = folded(pseudo + words(&frame.tcp, sizeof frame.tcp));
    send(&frame, sizeof frame);
  }

  void send(const void* frame, size_t size) {
    // A link that is down takes nothing: the answers' absence says it.
    const ssize_t ignored = ::send(socket_, frame, size, MSG_DONTWAIT);
    static_cast<void>(ignored);
  }

  void listen(int64_t until) {
    for (;;) {
      take_all();
      const int64_t left = until - clock_us(CLOCK_MONOTONIC);
      if (left <= 0 || ended) return;
      pollfd entry{socket_, POLLIN, 0};
      const timespec limit{.tv_sec = 0, .tv_nsec = static_cast<long>(std::min<int64_t>(left, 100000) * 1000)};
      ::ppoll(&entry, 1, &limit, nullptr);
    }
  }

  void take_all() {
    for (;;) {
      uint8_t frame[256];
      alignas(cmsghdr) char control[128];
      sockaddr_ll from{};
      iovec part{frame, sizeof frame};
      msghdr message{.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1,
                     .msg_control = control, .msg_controllen = sizeof control, .msg_flags = 0};
      const ssize_t size = ::recvmsg(socket_, &message, MSG_DONTWAIT);
      if (size < 0) return;
      if (from.sll_pkttype == PACKET_OUTGOING) continue;
      if (is_answer(frame, static_cast<size_t>(size))) note(frame, arrival(message));
    }
  }

  /// The kernel's time of arrival, on the monotonic clock.
  static int64_t arrival(msghdr& message) {
    const int64_t mono = clock_us(CLOCK_MONOTONIC), real = clock_us(CLOCK_REALTIME);
    for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
      timespec time{};
      std::memcpy(&time, CMSG_DATA(part), sizeof time);
      return mono - (real - (time.tv_sec * int64_t{1000000} + time.tv_nsec / 1000));
    }
    return mono;
  }

  bool is_answer(const uint8_t* frame, size_t size) const {
    ether_header head{};
    if (size < sizeof head) return false;
    std::memcpy(&head, frame, sizeof head);
    if (head.ether_type == htons(ETHERTYPE_ARP)) {
      ether_arp arp{};
      if (size < sizeof head + sizeof arp) return false;
      std::memcpy(&arp, frame + sizeof head, sizeof arp);
      // Announcements are broadcast, or name the address as their own target: only what answers us counts.
      return arp.ea_hdr.ar_op == htons(ARPOP_REPLY) && std::memcmp(arp.arp_spa, &wanted_, 4) == 0 &&
             std::memcmp(arp.arp_tpa, &own_, 4) == 0;
    }
    if (head.ether_type != htons(ETHERTYPE_IP) || size < sizeof(SynFrame)) return false;
    SynFrame answer;
    std::memcpy(&answer, frame, sizeof answer);
    return answer.ip.protocol == IPPROTO_TCP && answer.ip.ihl == 5 && answer.ip.saddr == wanted_.s_addr &&
           answer.tcp.source == htons(port_) && answer.tcp.dest == htons(kOwnPort);
  }

  void note(const uint8_t* frame, int64_t at) {
    ether_header head{};
    std::memcpy(&head, frame, sizeof head);
    for (size_t i = 0; i < servers_.size(); ++i)
      if (std::memcmp(head.ether_shost, servers_[i].mac.data(), 6) == 0) answers_[i].answered(at);
  }

  void print() const {
    const Span overlap = longest_overlap(answers_);
    std::string spans, pauses;
    for (const auto& server : answers_) {
      std::string list;
      for (const auto& span : server.spans()) list += fmt::format("{}[{}, {}]", list.empty() ? "" : ", ", span.begin, span.end);
      spans += fmt::format("{}\"{}\": {{\"answers\": {}, \"spans_us\": [{}]}}", spans.empty() ? "" : ", ", server.server(),
                           server.count(), list);
    }
    for (const auto& pause : pauses_) pauses += fmt::format("{}[{}, {}]", pauses.empty() ? "" : ", ", pause.begin, pause.end);
    fmt::print("{{\"overlap_us\": {}, \"overlap_at_us\": {}, \"interval_us\": {}, \"longest_pause_us\": {}, \"rounds\": {}, "
               "\"begun_us\": {}, \"real_time\": {}, \"servers\": {{{}}}, \"pauses_us\": [{}]}}\n",
               overlap.end - overlap.begin, overlap.begin, interval_us_, longest_pause_, rounds_, begun_, real_time_, spans,
               pauses);
  }

  in_addr own_, wanted_;
  int64_t interval_us_;
  uint16_t port_;
  int socket_ = -1;
  Mac mac_{};
  bool real_time_ = false;
  std::vector<Server> servers_;
  std::vector<Answers> answers_;
  std::vector<Span> pauses_;
  int64_t longest_pause_ = 0;
  uint64_t rounds_ = 0;
  int64_t begun_ = 0;
};

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  using namespace baton::bench;
  const Options options(argc, argv, {"--interval-us=", "--port="}, kUsage);
  if (options.files().size() < 5) give_up(std::string("usage: ") + kUsage);
  ::signal(SIGTERM, [](int) { ended = 1; });
  Probe(options).run();
  return 0;
}
