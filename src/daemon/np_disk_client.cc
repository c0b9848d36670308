// See np_disk_client.h.
#include "src/daemon/np_disk_client.h"

#include <openssl/hmac.h>

#include <optional>

namespace baton {

struct NpDiskClient::Disk {
  std::string path;
  Bytes cluster;
  std::optional<NpDisk> open;
};

namespace {

Status carry_out(std::optional<NpDisk>& disk, const arbiter::Round& round, arbiter::RoundDone& done) {
  if (round.own) {
    // SAFETY: Q2. Durable before the other one's is read.
    if (auto written = disk->write(round.self.value, to_np_record(*round.own)); !written) return written;
    done.own = *round.own;
  } else {
    const auto own = disk->read(round.self.value);
    if (!own) return pass(own);
    const auto block = from_np_record(*own);
    if (!block) return pass(block);
    done.own = *block;
  }
  const auto other = disk->read(round.other.value);
  if (!other) return pass(other);
  const auto block = from_np_record(*other);
  if (!block) return pass(block);
  done.other = *block;
  return {};
}

}  // namespace

Bytes np_disk_cluster(const std::string& cluster_key) {
  const std::string label = "baton np disk";
  uint8_t digest[32];
  unsigned length = 0;
  HMAC(EVP_sha256(), cluster_key.data(), static_cast<int>(cluster_key.size()), reinterpret_cast<const uint8_t*>(label.data()),
       label.size(), digest, &length);
  return {digest, digest + 16};
}

NpRecord to_np_record(const arbiter::DiskBlock& block) {
  NpRecord record{block.sequence, {}};
  ByteWriter writer(record.payload);
  for (const uint64_t number : {block.life, block.claim, block.number, block.voids}) writer.put(number);
  writer.put(static_cast<uint8_t>(block.held));
  return record;
}

Result<arbiter::DiskBlock> from_np_record(const NpRecord& record) {
  arbiter::DiskBlock block;
  block.sequence = record.sequence;
  if (record.sequence == 0) return block;
  ByteReader reader(record.payload);
  block.life = reader.take<uint64_t>();
  block.claim = reader.take<uint64_t>();
  block.number = reader.take<uint64_t>();
  block.voids = reader.take<uint64_t>();
  block.held = reader.take<uint8_t>() != 0;
  if (reader.failed()) return fail_as(ErrorCode::kInvalid, "a server's record on the disk is too short");
  return block;
}

NpDiskClient::NpDiskClient(EventLoop& loop, std::function<std::string()> cluster_key, const std::string& run_directory)
    : door_(loop), cluster_key_(std::move(cluster_key)), lock_file_(run_directory + "/np-disk.lock"), disk_(std::make_shared<Disk>()) {}

NpDiskClient::~NpDiskClient() { door_.close(); }

void NpDiskClient::run(const arbiter::Round& round, std::function<void(const arbiter::RoundDone&)> done) {
  worker_.run([disk = disk_, cluster = np_disk_cluster(cluster_key_()), lock = lock_file_, door = door_, round, done = std::move(done)] {
    arbiter::RoundDone result;
    result.number = round.number;
    Status made;
    if (!disk->open || disk->path != round.disk || disk->cluster != cluster) {
      disk->open.reset();  // and its lock
      disk->path = round.disk;
      disk->cluster = cluster;
      if (auto opened = NpDisk::open(round.disk, cluster, lock)) disk->open.emplace(std::move(*opened));
      else made = pass(opened);
    }
    if (made) made = carry_out(disk->open, round, result);
    result.ok = made.has_value();
    if (!made) {
      result.problem = made.error().message;
      disk->open.reset();
    }
    door.post([done, result] { done(result); });
  });
}

void NpDiskClient::format(const std::string& path, bool overwrite, std::function<void(Status)> done) {
  worker_.run([cluster = np_disk_cluster(cluster_key_()), door = door_, path, overwrite, done = std::move(done)] {
    const Status made = NpDisk::format(path, cluster, overwrite);
    door.post([done, made] { done(made); });
  });
}

}  // namespace baton
