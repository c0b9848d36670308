// Events wait in a queue while actions are carried out, so that a step is never entered from inside another.
#include "src/mirror/mirror_daemon.h"

#include <openssl/rand.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include <cstring>
#include <utility>

#include "src/base/assert.h"
#include "src/base/beat.h"
#include "src/mirror/faulty_device.h"
#include "src/mirror/file_device.h"

namespace baton::mirror {
namespace {

constexpr Duration kReportInterval = 100ms;
constexpr uint64_t kWorthSaying = 1 << 20;  // bytes of a store that are not used
constexpr Duration kDiskProblemInterval = 1s;
constexpr Duration kMemoryRetry = 10ms;
constexpr Duration kAbortMargin = 3s;  // batond and the guard go first, and end it more gently

uint64_t random_seed() {
  uint64_t seed = 0;
  BATON_ASSERT(RAND_bytes(reinterpret_cast<unsigned char*>(&seed), sizeof seed) == 1);
  return seed;
}

/// The report without what changes all the time during a copy.
MirrorReport without_progress(MirrorReport report) {
  report.dirty_bytes = 0;
  report.copy_done_bytes = 0;
  report.copy_sent_bytes = 0;
  report.copy_read_bytes = 0;
  report.copy_zero_bytes = 0;
  report.copy_bytes_per_second = 0;
  report.lag_bytes = 0;
  return report;
}

}  // namespace

// ---- Start ----

MirrorDaemon::MirrorDaemon(const mirror_control::DaemonSettings& settings) : settings_(settings) {}

MirrorDaemon::~MirrorDaemon() = default;

Result<std::unique_ptr<MirrorDaemon>> MirrorDaemon::start(const mirror_control::DaemonSettings& settings) {
  std::unique_ptr<MirrorDaemon> daemon(new MirrorDaemon(settings));
  auto ring = Ring::create();
  if (!ring) return pass(ring);
  daemon->ring_ = std::move(*ring);
  daemon->pool_.set_grow([self = daemon.get()](uint8_t* memory, size_t bytes) { self->make_present(memory, bytes); });
  if (auto opened = daemon->open_disks(); !opened) return pass(opened);
  if (auto opened = daemon->open_link(); !opened) return pass(opened);
  if (auto watched = daemon->watch_signals(); !watched) return pass(watched);
  MirrorDaemon* self = daemon.get();
  daemon->lease_ = std::make_unique<LeaseReader>(settings.lease_page, settings.self);
  daemon->export_ = std::make_unique<MirrorExport>(
      *daemon->ring_, daemon->pool_,
      MirrorExport::Settings{settings.key, settings.size_bytes, settings.export_directory, settings.export_kind,
                             settings.nbd_socket, nullptr},
      [self](const ClientRequest& request) { self->asked(request); },
      [self](const std::string& reason) { self->export_lost(reason); }, [self](const std::string& text) { self->note(text); });
  daemon->control_ = std::make_unique<ControlServer>(
      *daemon->ring_, [self](const mirror_control::Request& request) { self->on_request(request); },
      [self] {
        std::vector<mirror_control::Notice> notices{self->current_report()};
        if (!self->size_remark_.empty()) notices.push_back(mirror_control::Note{std::exchange(self->size_remark_, {})});
        return notices;
      });
  daemon->begin();
  if (auto listening = daemon->control_->listen(settings.socket); !listening) return pass(listening);
  return daemon;
}

Status MirrorDaemon::open_disks() {
  const StoredCopy blank = blank_copy(settings_.key, settings_.size_bytes / kBlockBytes);
  auto metadata = MetadataFile::open(*ring_, settings_.metadata, blank, 10s, true);
  if (!metadata) return pass(metadata);
  for (const std::string& warning : metadata->warnings) spdlog::warn("{}", warning);
  stored_ = std::move(metadata->stored);
  metadata_ = std::move(metadata->file);

  // SAFETY: I3: a store that has vanished must not come back as one full of zeroes that calls itself consistent.
  struct stat status {};
  const bool missing = stat(settings_.store.c_str(), &status) != 0 && errno == ENOENT;
  if (missing && stored_.superblock.generation.counter > 0) {
    return fail_as(ErrorCode::kNotFound,
                   "the store {} is gone, but the metadata {} says that it held data. Bring the store back (is its "
                   "filesystem mounted?), or remove the metadata too, and this copy is made anew by a full copy",
                   settings_.store, settings_.metadata);
  }
  return open_store();
}

Status MirrorDaemon::open_store() {
  const uint64_t stored_bytes = stored_.superblock.size_blocks * kBlockBytes;
  if (stored_bytes > settings_.size_bytes) {
    return fail_as(ErrorCode::kInvalid, "the mirror has {} bytes, the configuration says {}: a mirror cannot shrink",
                   stored_bytes, settings_.size_bytes);
  }
  auto store = FileDevice::open(*ring_, settings_.store, stored_bytes);
  if (!store) return pass(store);
  if (store->created) spdlog::info("the store {} was made", settings_.store);
  if (!store->device->direct()) spdlog::warn("the store {} cannot do direct I/O: the page cache is used", settings_.store);
  zeroed_store_ = store->known_zero;
  const auto available = store->device->available_bytes();
  if (available && *available >= stored_bytes + kWorthSaying) {
    size_remark_ = fmt::format("the store {} has {} bytes, the mirror uses the first {}: the size in the configuration counts, "
                               "which both stores must have", settings_.store, *available, stored_bytes);
    spdlog::info("{}", size_remark_);
  }
  device_ = std::move(store->device);
  if (!settings_.fault_file.empty()) {
    device_ = std::make_unique<FaultyDevice>(*ring_, std::move(device_), settings_.fault_file,
                                             [this](const std::string& text) { note(text); });
  }
  auto timed = std::make_unique<TimedDevice>(*ring_, pool_, std::move(device_), settings_.disk_timeout);
  timed_ = timed.get();
  auto meter = std::make_unique<DeviceMeter>(std::move(timed));
  meter_ = meter.get();
  device_ = std::move(meter);
  snapshot_ = Snapshot::for_store(*ring_, settings_.store);
  return {};
}

Status MirrorDaemon::open_link() {
  auto keys = load_keys(false);
  if (!keys) return pass(keys);
  keys_ = *keys;
  MirrorConnect::Settings link;
  link.mirror = settings_.key;
  link.self = settings_.self;
  link.peer = settings_.peer;
  link.listen_addresses = {settings_.listen_address};
  for (const std::string& more : settings_.more_listen_addresses) link.listen_addresses.push_back(more);
  link.peer_addresses = settings_.peer_addresses;
  link.port = settings_.port;
  link.key = keys_.used;
  link.other_keys = keys_.others;
  link.encrypt = settings_.encrypt;
  link.files = {settings_.certificate_file, settings_.private_key_file, settings_.authority_file};
  link.compress = settings_.compress;
  link.link_timeout = settings_.link_timeout;
  link.path_timeout = settings_.path_timeout;
  link_ = std::make_unique<MirrorConnect>(
      *ring_, pool_, std::move(link), [this](Event event) { emit(std::move(event)); },
      [this](const std::string& text) { note(text); });
  return {};
}

Status MirrorDaemon::watch_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = OwnedFd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_) return fail("cannot watch signals: {}", errno_text());
  watch_signal_descriptor();
  return {};
}

void MirrorDaemon::watch_signal_descriptor() {
  ring_->poll(signals_.get(), POLLIN, [this](int) {
    signalfd_siginfo information{};
    while (read(signals_.get(), &information, sizeof information) == sizeof information) {
      if (export_->state() == Export::State::kClosed || export_ahead_) {
        spdlog::info("signal {}: ending in order", information.ssi_signo);
        on_stop();
      } else {
        spdlog::warn("signal {} is ignored: the disk is exported as {}; demote the mirror first", information.ssi_signo,
                     export_->device());
      }
    }
    watch_signal_descriptor();
  });
}

void MirrorDaemon::watch_lease() {
  lease_->refresh();
  if (lease_->problem() != lease_problem_) {
    lease_problem_ = lease_->problem();
    if (lease_problem_.empty()) {
      spdlog::info("the lease page {} is there", settings_.lease_page);
    } else {
      spdlog::warn("{}; without it there is no lease", lease_problem_);
    }
  }
  abort_when_frozen_too_long();
  // The core asks for a Tick of its own while requests wait for a lease.
  ring_->at(next_beat(Ring::now(), LeaseReader::kRefresh), [this] { watch_lease(); });
}

/// The end of the bounded freeze, also when batond is dead: processes that wait for the disk cannot be killed before.
void MirrorDaemon::abort_when_frozen_too_long() {
  const Instant now = Ring::now();
  if (export_->state() != Export::State::kOpen || now < lease_->until()) {
    frozen_since_ = kNever;
    return;
  }
  if (frozen_since_ == kNever) frozen_since_ = now;
  if (now < frozen_since_ + settings_.freeze_limit + kAbortMargin) return;
  frozen_since_ = kNever;
  export_lost(fmt::format("the lease has been over for {} s: what still uses the disk must end",
                          to_ms(settings_.freeze_limit + kAbortMargin) / 1000));
}

void MirrorDaemon::watch_second() {
  pool_.trim(Ring::now());
  const bool news = metrics_.turn(Ring::now(), copy_->counters(), *meter_, link_->sent_bytes());
  const bool slow = !slow_disk().empty();
  if (slow && !slow_told_) notify(mirror_control::Alert{slow_disk()});
  if (control_ && (news || slow || slow_told_)) notify(current_report());
  slow_told_ = slow;
  ring_->at(next_beat(Ring::now(), 1s), [this] { watch_second(); });
}

/// Requests wait meanwhile only where the pool has nothing left for them.
void MirrorDaemon::make_present(uint8_t* memory, size_t bytes) {
  ring_->madvise(memory, bytes, MADV_POPULATE_WRITE, [this, memory, bytes](int result) {
    const bool later = result == -ENOMEM || result == -EAGAIN || result == -EINTR;
    if (later) {
      ring_->after(kMemoryRetry, [this, memory, bytes] { make_present(memory, bytes); });
      return;
    }
    pool_.grown(result == 0);
    if (export_) export_->memory_came();
    if (backup_export_) backup_export_->memory_came();
  });
}

/// What the disk has not answered for long: slow is not dead, but people should know.
std::string MirrorDaemon::slow_disk() const {
  if (timed_->dead()) return {};
  if (timed_->slow()) {
    return fmt::format("this server's disk {} has not answered a request for {} ms; after {} ms it is given up",
                       device_->name(), timed_->oldest() / 1ms, settings_.disk_timeout / 1ms);
  }
  if (metadata_->oldest() != kNever && Ring::now() - metadata_->oldest() > settings_.disk_timeout / 4) {
    return fmt::format("writing {} has taken {} ms", metadata_->path(), (Ring::now() - metadata_->oldest()) / 1ms);
  }
  return {};
}

void MirrorDaemon::begin() {
  Settings settings;
  settings.self = settings_.self;
  settings.peer = settings_.peer;
  settings.seed = random_seed();
  settings.protocol = settings_.protocol;
  settings.link_timeout = settings_.link_timeout;
  settings.ping_interval = settings_.link_timeout / 3;
  settings.peer_timeout = settings_.peer_timeout;
  settings.max_lag = settings_.max_lag;
  settings.freeze_limit = settings_.freeze_limit;
  settings.zeroed_store = zeroed_store_;
  copy_ = std::make_unique<MirrorCopy>(settings, std::move(stored_));
  std::vector<Action> actions;
  copy_->start(context(), actions);
  actions_ = std::move(actions);
  export_->reclaim();
  link_->listen();
  watch_lease();
  watch_second();
  watch_certificate();
  emit(SetRate{settings_.rate_limit});
  pump();
  // The configuration grew while this daemon was not running.
  if (settings_.size_bytes > device_->size_blocks() * kBlockBytes) on_grow(settings_.size_bytes);
}

// ---- The loop ----

void MirrorDaemon::run() {
  ring_->run([this] { return before_wait(); });
}

Context MirrorDaemon::context() const { return {Ring::now(), lease_->until()}; }

Instant MirrorDaemon::before_wait() {
  pump();
  if (copy_->next_tick() <= Ring::now()) {
    emit(Tick{});
    pump();
  }
  // The peer hears of a flush before this disk is asked: making a worker thread do it takes a while. A flush with
  // nothing to do ends at once.
  do {
    pump();
    link_->flush();
    begin_flushes();
  } while (!events_.empty());
  export_->flush();
  if (backup_export_) backup_export_->flush();
  report_if_due();
  const Instant wake = copy_->next_tick();
  return report_changed_ ? std::min(wake, last_report_time_ + kReportInterval) : wake;
}

// ---- Telling batond ----

mirror_control::Report MirrorDaemon::current_report() const {
  mirror_control::Report report;
  report.report = copy_->report();
  report.device = exported() ? export_->device() : "";
  report.metrics = metrics_.metrics();
  report.paths = link_->paths();
  report.export_kind = export_->kind();
  report.export_reason = export_->reason();
  report.nbd_socket = exported() ? export_->nbd_socket() : "";
  if (const std::string slow = slow_disk(); !slow.empty()) report.report.slow = slow;
  report.report.exported = exported();
  report.report.size_bytes = settings_.size_bytes;
  return report;
}

void MirrorDaemon::report_if_due() {
  if (!report_changed_) return;
  mirror_control::Report report = current_report();
  const Instant now = Ring::now();
  if (last_report_) {
    const bool same_device = last_report_->device == report.device;
    if (same_device && last_report_->report == report.report) {
      report_changed_ = false;
      return;
    }
    const bool only_progress = same_device && without_progress(last_report_->report) == without_progress(report.report);
    if (only_progress && now - last_report_time_ < kReportInterval) return;
  }
  report_changed_ = false;
  last_report_time_ = now;
  last_report_ = report;
  notify(report);
}

void MirrorDaemon::note(const std::string& text) {
  spdlog::info("{}", text);
  if (control_) notify(mirror_control::Note{text});
}

void MirrorDaemon::disk_problem(const std::string& text) {
  const Instant now = Ring::now();
  if (now - last_disk_problem_ < kDiskProblemInterval) return;
  last_disk_problem_ = now;
  spdlog::error("{}", text);
  notify(mirror_control::Note{text});
}

void MirrorDaemon::fail_request(const std::string& request, const std::string& reason) {
  spdlog::warn("{} failed: {}", request, reason);
  notify(mirror_control::Failed{request, reason});
}

}  // namespace baton::mirror
