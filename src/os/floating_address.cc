// See floating_address.h.
#include "src/os/floating_address.h"

#include <algorithm>
#include <array>
#include <optional>

#include "src/os/arp_socket.h"

namespace baton {

namespace {

constexpr int kProbes = 2;
constexpr Duration kProbeInterval = 15ms;  // a switch and a busy neighbour answer within a few
constexpr Duration kLookLasts = 2s;        // how long what the probes brought is good for
constexpr size_t kMostClaims = 16;
constexpr std::array<Duration, 6> kAnnouncements = {0ms, 0ms, 100ms, 500ms, 1s, 2s};

}  // namespace

struct FloatingAddress::State : std::enable_shared_from_this<FloatingAddress::State> {
  State(EventLoop& the_loop, std::string the_interface, InterfaceAddress the_address)
      : loop(the_loop), interface_name(std::move(the_interface)), address(the_address) {}

  /// Where the address is now: an interface's index, or 0.
  Result<int> holder() const {
    auto addresses = list_addresses();
    if (!addresses) return pass(addresses);
    for (const auto& assigned : *addresses) {
      if (assigned.address.same_address(address)) return assigned.interface_index;
    }
    return 0;
  }

  void finish(Status status) {
    stop_looking();
    auto once = std::exchange(callback, nullptr);
    if (once) once(std::move(status));
  }

  void stop_looking() {
    timer.cancel();
    if (looked_since != kNever) socket->ignore();
    looked_since = kNever;
    claims.clear();
  }

  /// The interface's socket, opened once and for all: no failover should wait for it.
  Status open_socket() {
    auto found = find_interface(interface_name);
    if (!found) return pass(found);
    interface = *found;
    if (!interface.speaks_arp) return {};
    if (socket && socket->interface().index == interface.index && socket->interface().mac == interface.mac) return {};
    stop_looking();
    auto opened = ArpSocket::open(loop, interface);
    if (!opened) return pass(opened);
    socket.emplace(std::move(*opened));
    return {};
  }

  Status begin() {
    if (auto ready = open_socket(); !ready) return ready;
    if (!interface.up) {
      return fail_as(ErrorCode::kUnavailable, "cannot take {}: interface {} is switched off", address.text(),
                     interface_name);
    }
    auto present = holder();
    if (!present) return pass(present);
    if (*present == interface.index) {
      loop.post(guarded([](State& state) { state.taken(); }));
      return {};
    }
    if (*present != 0) {
      return fail_as(ErrorCode::kConflict,
                     "cannot take {} on {}: interface number {} of this server has it already", address.text(),
                     interface_name, *present);
    }
    if (!interface.speaks_arp) {
      loop.post(guarded([](State& state) { state.take(); }));
      return {};
    }
    // What was heard ahead of time may be of an owner that had the right to it then: only its silence counts.
    if (looked_since == kNever || foreign_claim() != nullptr) {
      stop_looking();
      return look(InterfaceAddress{});
    }
    loop.post(guarded([](State& state) { state.decide(); }));
    return {};
  }

  /// A call that is dropped when this attempt is over by then.
  std::function<void()> guarded(std::function<void(State&)> call) {
    return [self = weak_from_this(), call = std::move(call), this_attempt = attempt] {
      auto state = self.lock();
      if (state && state->callback && state->attempt == this_attempt) call(*state);
    };
  }

  // ---- Probes ----

  /// One of this interface's addresses in the same network, to ask from.
  std::optional<InterfaceAddress> own_address() const {
    const auto addresses = list_addresses();
    if (!addresses) return std::nullopt;
    for (const auto& assigned : *addresses)
      if (assigned.interface_index == interface.index && address.network_holds(assigned.address)) return assigned.address;
    return std::nullopt;
  }

  /// `from`: nobody when the address is about to be taken, an own address when it is only asked for.
  Status look(const InterfaceAddress& from) {
    auto heard = socket->listen(address, [self = weak_from_this()](const ArpPacket& packet) {
      if (auto state = self.lock()) state->heard(packet);
    });
    if (!heard) return heard;
    looked_since = EventLoop::now();
    probes_sent = 0;
    asked_from = from;
    return probe();
  }

  Status probe() {
    auto sent = socket->ask(address, asked_from);
    if (!sent) return sent;
    ++probes_sent;
    timer = loop.after(kProbeInterval, [self = weak_from_this()] {
      if (auto state = self.lock()) state->probe_answered();
    });
    return {};
  }

  void probe_answered() {
    if (probes_sent < kProbes) {
      if (auto sent = probe(); !sent) finish(sent);
      return;
    }
    ++probes_sent;  // the time for answers is over
    if (callback) return decide();
    timer = loop.after(kLookLasts, [self = weak_from_this()] {
      if (auto state = self.lock()) state->stop_looking();
    });
  }

  const ArpPacket* foreign_claim() const {
    const auto found = std::find_if(claims.begin(), claims.end(), [this](const ArpPacket& claim) {
      return std::find(former_owners.begin(), former_owners.end(), claim.sender_mac) == former_owners.end();
    });
    return found == claims.end() ? nullptr : &*found;
  }

  /// With what the probes have brought so far.
  void decide() {
    if (const ArpPacket* claim = foreign_claim()) {
      return finish(fail_as(
          ErrorCode::kConflict,
          "cannot take {} on {}: the machine with MAC {} {}. Find it (its lease, if it is a server of this "
          "cluster, must have ended) or choose another address",
          address.text(), interface_name, claim->sender_mac.text(),
          claim->sender.same_address(address) ? "answers for it" : "is about to take it"));
    }
    if (probes_sent > kProbes) take();
  }

  /// A foreign claim: somebody sends from the address, or probes for it at the same time.
  void heard(const ArpPacket& packet) {
    if (packet.sender_mac == interface.mac) return;
    const InterfaceAddress nobody;
    const bool claims_it = packet.sender.same_address(address);
    const bool probes_for_it = packet.operation == ArpPacket::kRequest && packet.sender.same_address(nobody) &&
                               packet.target.same_address(address);
    if (!claims_it && !probes_for_it) return;
    const bool known = std::any_of(claims.begin(), claims.end(), [&](const ArpPacket& claim) {
      return claim.sender_mac == packet.sender_mac && claim.sender.same_address(packet.sender);
    });
    if (!known && claims.size() < kMostClaims) claims.push_back(packet);
    if (callback) decide();
  }

  void take() {
    auto added = add_address(interface.index, address);
    if (!added) {
      finish(fail("cannot take {} on {}: {}", address.text(), interface_name, added.error().message));
      return;
    }
    taken();
  }

  void taken() {
    held = true;
    announce_all();
    finish({});
  }

  void announce_all() {
    announcements.clear();
    if (!open_socket() || !socket) return;  // the interface has just gone: the monitor tells
    auto say = [self = weak_from_this()] {
      auto state = self.lock();
      if (state && state->socket) static_cast<void>(state->socket->announce(state->address).has_value());
    };
    for (Duration delay : kAnnouncements) {
      delay == Duration(0) ? say() : announcements.push_back(loop.after(delay, say));
    }
  }

  EventLoop& loop;
  std::string interface_name;
  InterfaceAddress address;
  NetworkInterface interface;
  std::vector<MacAddress> former_owners;
  Callback callback;  // not empty: an acquire is under way
  uint64_t attempt = 0;
  Instant looked_since = kNever;  // when the probes began that are or were sent
  InterfaceAddress asked_from;    // nobody, or an own address while it is only looked ahead
  int probes_sent = 0;            // more than kProbes: and the time for answers is over
  std::vector<ArpPacket> claims;  // what was heard since
  bool held = false;
  std::optional<ArpSocket> socket;
  EventLoop::Handle timer;
  std::vector<EventLoop::Handle> announcements;
};

FloatingAddress::FloatingAddress(EventLoop& loop, std::string interface, InterfaceAddress address)
    : state_(std::make_shared<State>(loop, std::move(interface), address)) {
  static_cast<void>(state_->open_socket().has_value());  // if it cannot be opened now, then later
}

FloatingAddress::~FloatingAddress() { state_->callback = nullptr; }

void FloatingAddress::acquire(std::vector<MacAddress> former_owners, Callback callback) {
  auto& state = *state_;
  ++state.attempt;
  if (state.callback) state.finish(fail("taking {} was begun anew", state.address.text()));
  state.former_owners = std::move(former_owners);
  state.callback = std::move(callback);
  auto begun = state.begin();
  if (!begun) {
    state.loop.post(state.guarded([begun](State& later) { later.finish(begun); }));
  }
}

Status FloatingAddress::release() {
  auto& state = *state_;
  state.held = false;
  state.announcements.clear();
  state.finish(fail("taking {} was given up", state.address.text()));
  auto found = find_interface(state.interface_name);
  if (!found) return found.error().code == ErrorCode::kNotFound ? Status() : Status(pass(found));
  auto deleted = delete_address(found->index, state.address);
  if (!deleted) {
    return fail("cannot remove {} from {}: {}", state.address.text(), state.interface_name,
                deleted.error().message);
  }
  return {};
}

void FloatingAddress::look_ahead() {
  auto& state = *state_;
  if (state.held || state.callback || !state.open_socket() || !state.socket || !state.interface.up) return;
  state.stop_looking();
  const auto own = state.own_address();
  if (own && !state.look(*own)) state.stop_looking();
}

void FloatingAddress::announce_again() {
  if (state_->held) state_->announce_all();
}

bool FloatingAddress::is_among(const std::vector<AssignedAddress>& assigned) const {
  return std::any_of(assigned.begin(), assigned.end(), [this](const AssignedAddress& one) {
    return one.interface_index == state_->interface.index && one.address.same_address(state_->address);
  });
}

Result<FloatingAddress::Presence> FloatingAddress::presence() const {
  auto interface = find_interface(state_->interface_name);
  if (!interface && interface.error().code == ErrorCode::kNotFound) return Presence{};
  if (!interface) return pass(interface);
  auto holder = state_->holder();
  if (!holder) return pass(holder);
  return Presence{*holder == interface->index, interface->up && interface->carrier};
}

}  // namespace baton
