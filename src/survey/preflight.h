// The checks of `baton preflight`: what would keep a server from working in a cluster, found before it is founded. Each looks
// at the machine and changes nothing on it but a file of its own that it removes. Blocks, seconds at most. One thread.
#pragma once

#include <string>

#include "src/model/configuration.h"
#include "src/survey/finding.h"

namespace baton::survey {

struct PreflightOptions {
  const Configuration* configuration = nullptr;
  ServerId self;
  std::string configuration_directory = "/etc/baton";
  std::string state_directory = "/var/lib/baton";
  std::string run_directory = "/run/baton";
};

Findings run_preflight(const PreflightOptions& options);

// The families of checks.
void check_addresses(const PreflightOptions& options, Findings& findings);   // survey_network.cc
void check_ports(const PreflightOptions& options, Findings& findings);
void check_peers(const PreflightOptions& options, Findings& findings);       // survey_peers.cc: path MTU, clocks
void check_floating(const PreflightOptions& options, Findings& findings);    // survey_arp.cc
void check_foreign(const PreflightOptions& options, Findings& findings);     // survey_foreign.cc
void check_disks(const PreflightOptions& options, Findings& findings);       // survey_disks.cc
void check_kernel(const PreflightOptions& options, Findings& findings);      // survey_kernel.cc
void check_np_disk(const PreflightOptions& options, Findings& findings);     // survey_np_disk.cc
void check_np_ping(const PreflightOptions& options, Findings& findings);     // survey_np_ping.cc

/// Binds a port (0: any) of an address and lets go again. 0, or the error number (EADDRNOTAVAIL: not an address of this server).
int try_port(int type, const std::string& address, uint16_t port);

// What is judged apart from the looking.
struct DiskFacts {
  std::string path;        // what was asked for
  std::string device;      // "sda"; empty: no block device is known
  std::string filesystem;  // "ext4"
  bool rotational = false;
  bool virtual_disk = false;
  bool write_through = false;  // the kernel sends it no flushes
  double flush_ms = 0;         // median of write and flush; 0: could not be measured
};
Finding judge_disk(const DiskFacts& facts);
/// `skew_ms`: of the peer's clock; `round_trip_ms`: within which it is uncertain.
Finding judge_clock(const std::string& peer, double skew_ms, double round_trip_ms);

}  // namespace baton::survey
