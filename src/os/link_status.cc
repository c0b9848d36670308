// See link_status.h: keys stats.knet.nodeN.linkM.* of cmap's statistics map.
#include "src/os/link_status.h"

#include <corosync/cmap.h>

#include <cstring>

#include "src/os/corosync_errors.h"
#include "src/os/worker_thread.h"

namespace baton {

namespace {

/// A figure of whatever width; 0 when this corosync does not have it.
uint64_t read_figure(cmap_handle_t handle, const std::string& key) {
  uint64_t bytes = 0;
  size_t size = sizeof bytes;
  cmap_value_types_t type;
  if (cmap_get(handle, key.c_str(), &bytes, &size, &type) != CS_OK || size > sizeof bytes) return 0;
  uint64_t figure = 0;
  std::memcpy(&figure, &bytes, size);  // little-endian: the low bytes come first
  return figure;
}

LinkCounters read_counters(cmap_handle_t handle, ServerId peer, uint32_t link) {
  const std::string place = fmt::format("stats.knet.node{}.link{}.", peer, link);
  const auto figure = [&](const char* name) { return read_figure(handle, place + name); };
  LinkCounters counters;
  counters.pings = figure("tx_ping_packets");
  counters.pongs = figure("rx_pong_packets");
  counters.send_errors = figure("tx_data_errors") + figure("tx_ping_errors") + figure("tx_pong_errors");
  counters.downs = static_cast<uint32_t>(figure("down_count"));
  counters.latency_us = static_cast<uint32_t>(figure("latency_ave"));
  counters.latency_worst_us = static_cast<uint32_t>(figure("latency_max"));
  return counters;
}

/// Each by its name: to have corosync list its some two hundred figures is a question and an answer for each of them.
Result<std::vector<LinkStatus>> read_links(cmap_handle_t handle, const std::set<ServerId>& peers, uint32_t count) {
  std::vector<LinkStatus> links;
  for (const ServerId peer : peers) {
    for (uint32_t link = 0; link < count; ++link) {
      uint8_t connected = 0;
      const cs_error_t error = cmap_get_uint8(handle, fmt::format("stats.knet.node{}.link{}.connected", peer, link).c_str(), &connected);
      if (error == CS_ERR_NOT_EXIST) continue;
      if (error != CS_OK) return fail("cannot read link statistics: {}", corosync_error_text(error));
      links.push_back({peer, link, connected != 0, read_counters(handle, peer, link)});
    }
  }
  return links;
}

}  // namespace

struct LinkStatusReader::Shared {
  explicit Shared(EventLoop& loop) : door(loop) {}
  ~Shared() {
    if (connected) cmap_finalize(handle);
  }

  /// On the worker thread.
  Result<std::vector<LinkStatus>> read(const std::set<ServerId>& peers, uint32_t count) {
    if (!connected) {
      cs_error_t error = cmap_initialize_map(&handle, CMAP_MAP_STATS);
      if (error != CS_OK) {
        return fail_as(ErrorCode::kUnavailable, "corosync cannot be reached: {}", corosync_error_text(error));
      }
      connected = true;
    }
    auto links = read_links(handle, peers, count);
    if (!links) {
      cmap_finalize(handle);
      connected = false;
    }
    return links;
  }

  LoopDoor door;
  WorkerThread worker;
  bool busy = false;       // loop's thread
  bool connected = false;  // worker's thread
  cmap_handle_t handle = 0;
};

LinkStatusReader::LinkStatusReader(EventLoop& loop) : shared_(std::make_shared<Shared>(loop)) {}

LinkStatusReader::~LinkStatusReader() { shared_->door.close(); }

void LinkStatusReader::read(const std::set<ServerId>& peers, uint32_t links, Callback callback) {
  if (shared_->busy) {
    Result<std::vector<LinkStatus>> error =
        fail_as(ErrorCode::kUnavailable, "corosync has not yet answered the previous question about its links");
    shared_->door.post([callback = std::move(callback), error] { callback(error); });
    return;
  }
  shared_->busy = true;
  shared_->worker.run([shared = shared_, peers, links, callback = std::move(callback)] {
    auto known = std::make_shared<Result<std::vector<LinkStatus>>>(shared->read(peers, links));
    std::weak_ptr<Shared> weak = shared;
    shared->door.post([weak, known, callback] {
      if (auto owner = weak.lock()) owner->busy = false;
      callback(std::move(*known));
    });
  });
}

}  // namespace baton
