// The gate by libnftables, loaded when it is first needed: a server without it goes on ungated, and says so. The
// kernel's work is done on one worker thread.
#include "src/guard/address_gate.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "src/os/event_loop.h"

namespace baton::guard {

namespace {

struct nft_ctx;

/// The few calls of libnftables that are used; its interface is stable (libnftables.so.1).
class Library {
 public:
  /// Empty: it is there.
  std::string load() {
    if (context_ != nullptr) return {};
    void* library = ::dlopen("libnftables.so.1", RTLD_NOW);
    if (library == nullptr) return "libnftables is not installed";
    const auto find = [&](const char* name) { return ::dlsym(library, name); };
    auto* make = reinterpret_cast<nft_ctx* (*)(uint32_t)>(find("nft_ctx_new"));
    auto* buffer_errors = reinterpret_cast<int (*)(nft_ctx*)>(find("nft_ctx_buffer_error"));
    error_ = reinterpret_cast<const char* (*)(nft_ctx*)>(find("nft_ctx_get_error_buffer"));
    run_ = reinterpret_cast<int (*)(nft_ctx*, const char*)>(find("nft_run_cmd_from_buffer"));
    if (make == nullptr || buffer_errors == nullptr || error_ == nullptr || run_ == nullptr)
      return "libnftables lacks a call that is needed";
    context_ = make(0);
    if (context_ == nullptr) return "libnftables cannot be started";
    buffer_errors(context_);
    return {};
  }
  /// One transaction. Empty: done.
  std::string run(const std::string& commands) {
    if (run_(context_, commands.c_str()) == 0) return {};
    std::string text = error_(context_);
    return text.substr(0, text.find('\n'));
  }

 private:
  nft_ctx* context_ = nullptr;
  const char* (*error_)(nft_ctx*) = nullptr;
  int (*run_)(nft_ctx*, const char*) = nullptr;
};

std::string table_text(const std::string& family, const std::string& to, const std::string& from,
                       const std::string& addresses) {
  return fmt::format(R"(add table {0} baton
delete table {0} baton
table {0} baton {{
  set floating {{ type ipv4_addr; elements = {{ {3} }}; }}
  set held {{ type ipv4_addr; flags timeout; }}
  chain inward {{ type filter hook input priority -300; {1} @floating {1} != @held drop; }}
  chain outward {{ type filter hook output priority -300; {2} @floating {2} != @held drop; }}
}}
)",
                     family, to, from, addresses);
}

std::string tables_text(const std::string& addresses) {
  return table_text("inet", "ip daddr", "ip saddr", addresses) +
         table_text("arp", "arp daddr ip", "arp saddr ip", addresses);
}

std::string held_text(const std::vector<std::string>& addresses, int64_t left_ms) {
  std::string text;
  for (const char* family : {"inet", "arp"}) {
    text += fmt::format("flush set {} baton held\n", family);
    if (left_ms <= 0) continue;
    std::vector<std::string> elements;
    for (const auto& each : addresses) elements.push_back(fmt::format("{} timeout {}ms", each, left_ms));
    text += fmt::format("add element {} baton held {{ {} }}\n", family, fmt::join(elements, ", "));
  }
  return text;
}

constexpr const char* kRemove = "add table inet baton\ndelete table inet baton\nadd table arp baton\ndelete table arp baton\n";
constexpr Duration kWorthIt = 50ms;  // a lease that moved by less need not be told

}  // namespace

struct AddressGate::State {
  void work();
  std::string install(const std::vector<std::string>& wanted_addresses, Instant wanted_until);

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> addresses;
  Instant until{};
  uint64_t wanted = 0;
  uint64_t done = 0;
  bool ending = false;
  bool removing = false;
  bool in_kernel = false;  // what was set before last, at least
  std::string problem;

  // The thread's own.
  Library library;
  std::vector<std::string> installed;
};

std::string AddressGate::State::install(const std::vector<std::string>& wanted_addresses, Instant wanted_until) {
  if (const std::string missing = library.load(); !missing.empty()) return missing;
  std::string text;
  if (wanted_addresses.empty()) {
    if (installed.empty()) return {};
    text = kRemove;
  } else {
    // SAFETY: tables and elements in one transaction: a new guard opens no gap, and none is held longer than the lease.
    if (installed != wanted_addresses) text = tables_text(fmt::format("{}", fmt::join(wanted_addresses, ", ")));
    text += held_text(wanted_addresses, to_ms(wanted_until - EventLoop::now()));
  }
  const std::string error = library.run(text);
  installed = error.empty() ? wanted_addresses : std::vector<std::string>{};
  return error;
}

void AddressGate::State::work() {
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [&] { return ending || wanted != done; });
    if (ending) return;
    const uint64_t number = wanted;
    const auto its_addresses = removing ? std::vector<std::string>{} : addresses;
    const Instant its_until = until;
    lock.unlock();
    std::string error = install(its_addresses, its_until);
    lock.lock();
    problem = error.empty() ? "" : "floating addresses are not gated by nftables: " + error;
    in_kernel = error.empty() && !its_addresses.empty() && its_addresses == addresses;
    done = number;
    changed.notify_all();
  }
}

AddressGate::AddressGate() : state_(std::make_shared<State>()) {
  std::thread([state = state_] { state->work(); }).detach();
}

AddressGate::~AddressGate() {
  const std::lock_guard lock(state_->mutex);
  state_->ending = true;
  state_->changed.notify_all();
}

void AddressGate::set(const std::vector<std::string>& addresses, Instant lease_until) {
  const std::lock_guard lock(state_->mutex);
  const bool withdrawn = lease_until < state_->until;
  if (addresses == state_->addresses && !withdrawn && lease_until < state_->until + kWorthIt && state_->wanted > 0) return;
  state_->in_kernel = state_->in_kernel && addresses == state_->addresses;
  state_->addresses = addresses;
  state_->until = lease_until;
  ++state_->wanted;
  state_->changed.notify_all();
}

void AddressGate::settle() {
  std::unique_lock lock(state_->mutex);
  const uint64_t number = state_->wanted;
  state_->changed.wait_for(lock, 5s, [&] { return state_->done >= number; });
}

void AddressGate::remove() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->removing = true;
    ++state_->wanted;
    state_->changed.notify_all();
  }
  settle();
}

std::string AddressGate::problem() const {
  const std::lock_guard lock(state_->mutex);
  return state_->problem;
}

bool AddressGate::stands(const std::vector<std::string>& addresses) const {
  const std::lock_guard lock(state_->mutex);
  return state_->problem.empty() && state_->in_kernel && state_->addresses == addresses;
}

}  // namespace baton::guard
