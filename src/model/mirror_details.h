// What people like to know of a copy and nobody decides by: figures, paths, how it is exported. Plain values, any thread.
#pragma once

#include <string>
#include <vector>

#include "src/model/mirror_report.h"

namespace baton {

struct MirrorDetails {
  std::string device;         // "/dev/loop3", empty when not exported
  MirrorMetrics metrics;
  std::vector<MirrorPath> paths;
  std::string export_kind;    // "ublk", "nbd", "fuse"
  std::string export_reason;  // why this kind
  std::string nbd_socket;     // where virtual machines and tools reach it
  std::string pending;        // settings of the configuration that wait, and for what; empty: none
  bool operator==(const MirrorDetails&) const = default;
};

}  // namespace baton
