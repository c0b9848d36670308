// See link_status.h: keys stats.knet.nodeN.linkM.* of cmap's statistics map.
#include "src/os/link_status.h"

#include <corosync/cmap.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <tuple>

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

Result<std::vector<LinkStatus>> read_links(cmap_handle_t handle, ServerId local) {
  cmap_iter_handle_t iterator;
  cs_error_t error = cmap_iter_init(handle, "stats.knet.node", &iterator);
  if (error != CS_OK) return fail("cannot read link statistics: {}", corosync_error_text(error));
  std::vector<LinkStatus> links;
  char key[CMAP_KEYNAME_MAXLEN + 1];
  size_t bytes;
  cmap_value_types_t type;
  while (cmap_iter_next(handle, iterator, key, &bytes, &type) == CS_OK) {
    unsigned peer = 0, link = 0;
    int end = 0;
    uint8_t connected = 0;
    if (std::sscanf(key, "stats.knet.node%u.link%u.connected%n", &peer, &link, &end) != 2 || end == 0) continue;
    if (peer == local.value || cmap_get_uint8(handle, key, &connected) != CS_OK) continue;
    links.push_back({ServerId(peer), link, connected != 0, {}});
  }
  cmap_iter_finalize(handle, iterator);
  for (auto& link : links) link.counters = read_counters(handle, link.peer, link.link);
  std::sort(links.begin(), links.end(), [](const LinkStatus& left, const LinkStatus& right) {
    return std::tie(left.peer, left.link) < std::tie(right.peer, right.link);
  });
  return links;
}

}  // namespace

struct LinkStatusReader::Shared {
  explicit Shared(EventLoop& loop) : door(loop) {}
  ~Shared() {
    if (connected) cmap_finalize(handle);
  }

  /// On the worker thread.
  Result<std::vector<LinkStatus>> read(ServerId local) {
    if (!connected) {
      cs_error_t error = cmap_initialize_map(&handle, CMAP_MAP_STATS);
      if (error != CS_OK) {
        return fail_as(ErrorCode::kUnavailable, "corosync cannot be reached: {}", corosync_error_text(error));
      }
      connected = true;
    }
    auto links = read_links(handle, local);
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

void LinkStatusReader::read(ServerId local, Callback callback) {
  if (shared_->busy) {
    Result<std::vector<LinkStatus>> error =
        fail_as(ErrorCode::kUnavailable, "corosync has not yet answered the previous question about its links");
    shared_->door.post([callback = std::move(callback), error] { callback(error); });
    return;
  }
  shared_->busy = true;
  shared_->worker.run([shared = shared_, local, callback = std::move(callback)] {
    auto links = std::make_shared<Result<std::vector<LinkStatus>>>(shared->read(local));
    std::weak_ptr<Shared> weak = shared;
    shared->door.post([weak, links, callback] {
      if (auto owner = weak.lock()) owner->busy = false;
      callback(std::move(*links));
    });
  });
}

}  // namespace baton
