// The kernel's NBD driver, asked over generic netlink: connect a device to sockets, resize it, disconnect it.
// Blocks: only for the child of a ForkedTask.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace baton::mirror {

/// Whether the driver is there (in this network namespace: it answers only in the first one).
bool kernel_has_nbd();

struct KernelNbdSettings {
  std::vector<int> sockets;
  uint64_t size_bytes = 0;
  uint64_t block_bytes = 4096;
  uint64_t timeout_seconds = 0;
  uint64_t server_flags = 0;
  std::string backend;  // marks the device as ours, where the kernel keeps such a mark
};

/// Takes a free device; its number.
Result<int> connect_kernel_nbd(const KernelNbdSettings& settings);
/// `backend` as given when it was connected.
Status resize_kernel_nbd(int number, uint64_t size_bytes, const std::string& backend);
/// Everything under way fails, and so does everything to come until the device is connected again.
Status disconnect_kernel_nbd(int number);

}  // namespace baton::mirror
