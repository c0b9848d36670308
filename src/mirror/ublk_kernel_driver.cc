// Data is copied with pread and pwrite on the queue's device (UBLK_F_USER_COPY): buffers then have the
// requests' size, where handing out an address per tag would need the largest size for each.
#include "src/mirror/ublk_kernel_driver.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/ublk_cmd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <unordered_map>
#include <vector>

#include "src/base/assert.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {
namespace {

// From linux/ublk_cmd.h of Linux 6.5 to 6.16; Debian 12's header (6.1) has the structures, but not these.
constexpr uint64_t kFeatureIoctlEncoding = 1ULL << 6;
constexpr uint64_t kFeatureUserCopy = 1ULL << 7;
constexpr uint32_t kControlAdd = _IOWR('u', 0x04, ublksrv_ctrl_cmd);
constexpr uint32_t kControlDelete = _IOWR('u', 0x05, ublksrv_ctrl_cmd);
constexpr uint32_t kControlStart = _IOWR('u', 0x06, ublksrv_ctrl_cmd);
constexpr uint32_t kControlStop = _IOWR('u', 0x07, ublksrv_ctrl_cmd);
constexpr uint32_t kControlSetParameters = _IOWR('u', 0x08, ublksrv_ctrl_cmd);
constexpr uint32_t kControlGetInfo = _IOR('u', 0x02, ublksrv_ctrl_cmd);
constexpr uint32_t kControlGetFeatures = _IOR('u', 0x13, ublksrv_ctrl_cmd);
constexpr uint32_t kControlUpdateSize = _IOWR('u', 0x15, ublksrv_ctrl_cmd);
constexpr uint32_t kIoFetch = _IOWR('u', 0x20, ublksrv_io_cmd);
constexpr uint32_t kIoCommitAndFetch = _IOWR('u', 0x21, ublksrv_io_cmd);
constexpr int kTagShift = 25;  // of the offset at which a tag's data is read and written

constexpr uint32_t kNewDevice = ~0U;
constexpr uint64_t kQueueData = uint64_t{1} << 63;  // marks the entry of a tag; others are control commands
constexpr unsigned kSectorShift = 9;

/// An io_uring of 128-byte entries and the control device: what one-off questions and the driver share.
struct Control {
  ~Control() {
    if (ready) io_uring_queue_exit(&ring);
  }
  Status open(unsigned entries) {
    device = OwnedFd(::open("/dev/ublk-control", O_RDWR | O_CLOEXEC));
    if (!device) return fail("cannot open /dev/ublk-control: {}", errno_text());
    const int error = io_uring_queue_init(entries, &ring, IORING_SETUP_SQE128);
    if (error < 0) return fail("cannot set up io_uring with 128-byte entries: {}", errno_text(-error));
    ready = true;
    return {};
  }
  /// An entry for `fd`; the command's bytes go behind it.
  io_uring_sqe* entry(int fd, uint32_t operation, uint64_t data) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring);
    while (sqe == nullptr) {
      io_uring_submit(&ring);
      sqe = io_uring_get_sqe(&ring);
    }
    std::memset(static_cast<void*>(sqe), 0, 2 * sizeof *sqe);
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = fd;
    sqe->off = operation;  // cmd_op; its upper half must be 0
    sqe->user_data = data;
    return sqe;
  }
  void command(uint32_t operation, const ublksrv_ctrl_cmd& command, uint64_t data) {
    io_uring_sqe* sqe = entry(device.get(), operation, data);
    std::memcpy(reinterpret_cast<uint8_t*>(sqe) + 48, &command, sizeof command);
  }
  /// Asks and waits. For children only.
  int ask(uint32_t operation, const ublksrv_ctrl_cmd& question) {
    command(operation, question, 0);
    io_uring_cqe* completion = nullptr;
    if (io_uring_submit_and_wait(&ring, 1) < 0 || io_uring_peek_cqe(&ring, &completion) != 0) return -EIO;
    const int result = completion->res;
    io_uring_cqe_seen(&ring, completion);
    return result;
  }

  OwnedFd device;
  io_uring ring{};
  bool ready = false;
};

ublksrv_ctrl_cmd command_for(uint32_t number) {
  ublksrv_ctrl_cmd command{};
  command.dev_id = number;
  command.queue_id = UINT16_MAX;
  return command;
}

ublk_params parameters_of(const UblkDriver::Parameters& wanted) {
  ublk_params parameters{};
  parameters.len = sizeof parameters;
  parameters.types = UBLK_PARAM_TYPE_BASIC | (wanted.read_only ? 0 : UBLK_PARAM_TYPE_DISCARD);
  parameters.basic.attrs =
      UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA | (wanted.read_only ? UBLK_ATTR_READ_ONLY : 0);
  parameters.basic.logical_bs_shift = parameters.basic.physical_bs_shift = 12;
  parameters.basic.io_opt_shift = parameters.basic.io_min_shift = 12;
  parameters.basic.max_sectors = wanted.max_transfer_bytes >> kSectorShift;
  parameters.basic.dev_sectors = wanted.size_bytes >> kSectorShift;
  parameters.discard.discard_granularity = 4096;
  parameters.discard.max_discard_sectors = wanted.max_zero_bytes >> kSectorShift;
  parameters.discard.max_write_zeroes_sectors = wanted.max_zero_bytes >> kSectorShift;
  parameters.discard.max_discard_segments = 1;
  return parameters;
}

UblkDriver::Request::Operation operation_of(uint8_t operation) {
  using Operation = UblkDriver::Request::Operation;
  switch (operation) {
    case UBLK_IO_OP_READ:
      return Operation::kRead;
    case UBLK_IO_OP_WRITE:
      return Operation::kWrite;
    case UBLK_IO_OP_FLUSH:
      return Operation::kFlush;
    case UBLK_IO_OP_DISCARD:
      return Operation::kDiscard;
    case UBLK_IO_OP_WRITE_ZEROES:
      return Operation::kWriteZeroes;
    default:
      return Operation::kUnknown;
  }
}

class UblkKernelDriver : public UblkDriver, public std::enable_shared_from_this<UblkKernelDriver> {
 public:
  explicit UblkKernelDriver(Ring& loop) : loop_(loop) {}
  ~UblkKernelDriver() override { close_queue(); }

  Status open() { return control_.open(512); }

  void add(uint32_t depth, uint32_t max_transfer_bytes, Done done) override {
    depth_ = depth;
    information_.nr_hw_queues = 1;
    information_.queue_depth = static_cast<uint16_t>(depth);
    information_.max_io_buf_bytes = max_transfer_bytes;
    information_.dev_id = kNewDevice;
    information_.flags = kFeatureIoctlEncoding | kFeatureUserCopy;
    ublksrv_ctrl_cmd command = command_for(kNewDevice);
    command.addr = reinterpret_cast<uint64_t>(&information_);
    command.len = sizeof information_;
    begin(kControlAdd, command, [this, done = std::move(done)](int result) {
      if (result >= 0) number_ = information_.dev_id;
      done(result < 0 ? result : static_cast<int>(number_));
    });
  }

  void set_parameters(const Parameters& parameters, Done done) override {
    parameters_ = parameters_of(parameters);
    ublksrv_ctrl_cmd command = command_for(number_);
    command.addr = reinterpret_cast<uint64_t>(&parameters_);
    command.len = sizeof parameters_;
    begin(kControlSetParameters, command, std::move(done));
  }

  Status fetch_all(Fetched fetched) override {
    const std::string name = "ublkc" + std::to_string(number_);
    const std::string path = "/dev/" + name;
    unsigned major_number = 0;
    unsigned minor_number = 0;
    char colon = 0;
    if (access(path.c_str(), F_OK) != 0 &&
        std::ifstream("/sys/class/ublk-char/" + name + "/dev") >> major_number >> colon >> minor_number) {
      mknod(path.c_str(), S_IFCHR | 0600, makedev(major_number, minor_number));
    }
    queue_ = OwnedFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!queue_) return fail("cannot open {}: {}", path, errno_text());
    void* memory = mmap(nullptr, descriptor_bytes(), PROT_READ, MAP_SHARED | MAP_POPULATE, queue_.get(),
                        UBLKSRV_CMD_BUF_OFFSET);
    if (memory == MAP_FAILED) return fail("cannot map the requests of {}: {}", path, errno_text());
    descriptors_ = static_cast<const ublksrv_io_desc*>(memory);
    fetched_ = std::move(fetched);
    for (uint32_t tag = 0; tag < depth_; ++tag) queue_command(kIoFetch, tag, -1);
    flush();
    return {};
  }

  void start(Done done) override {
    ublksrv_ctrl_cmd command = command_for(number_);
    command.data[0] = static_cast<uint64_t>(getpid());
    begin(kControlStart, command, std::move(done));
  }

  Request request(uint32_t tag) const override {
    const ublksrv_io_desc& descriptor = descriptors_[tag];
    Request request;
    request.operation = operation_of(ublksrv_get_op(&descriptor));
    request.force_unit_access = (descriptor.op_flags & UBLK_IO_F_FUA) != 0;
    request.no_unmap = (descriptor.op_flags & UBLK_IO_F_NOUNMAP) != 0;
    request.offset = descriptor.start_sector << kSectorShift;
    request.bytes = descriptor.nr_sectors << kSectorShift;
    return request;
  }

  int64_t copy_from(uint32_t tag, uint8_t* to, uint32_t bytes) override {
    return pread(queue_.get(), to, bytes, data_offset(tag));
  }
  int64_t copy_to(uint32_t tag, const uint8_t* from, uint32_t bytes) override {
    return pwrite(queue_.get(), from, bytes, data_offset(tag));
  }
  void commit_and_fetch(uint32_t tag, int result) override { queue_command(kIoCommitAndFetch, tag, result); }

  void resize(uint64_t size_bytes, Done done) override {
    ublksrv_ctrl_cmd command = command_for(number_);
    command.data[0] = size_bytes >> kSectorShift;
    begin(kControlUpdateSize, command, std::move(done));
  }
  void stop(Done done) override { begin(kControlStop, command_for(number_), std::move(done)); }
  void remove(Done done) override {
    close_queue();  // the kernel waits for the last descriptor
    begin(kControlDelete, command_for(number_), std::move(done));
  }

  void flush() override {
    if (io_uring_sq_ready(&control_.ring) > 0) io_uring_submit(&control_.ring);
    watch();
  }

 private:
  size_t descriptor_bytes() const {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return (depth_ * sizeof(ublksrv_io_desc) + page - 1) / page * page;
  }
  static off_t data_offset(uint32_t tag) {
    return static_cast<off_t>(UBLKSRV_IO_BUF_OFFSET + (uint64_t{tag} << kTagShift));
  }

  void begin(uint32_t operation, const ublksrv_ctrl_cmd& command, Done done) {
    const uint64_t name = ++last_command_;
    commands_.emplace(name, std::move(done));
    control_.command(operation, command, name);
    flush();
  }

  void queue_command(uint32_t operation, uint32_t tag, int result) {
    if (!queue_) return;  // closed: the kernel has ended this tag
    ublksrv_io_cmd command{};
    command.tag = static_cast<uint16_t>(tag);
    command.result = result;
    io_uring_sqe* sqe = control_.entry(queue_.get(), operation, kQueueData | tag);
    std::memcpy(reinterpret_cast<uint8_t*>(sqe) + 48, &command, sizeof command);
  }

  /// The loop waits for completions in our ring; it keeps us alive meanwhile.
  void watch() {
    if (watching_) return;
    watching_ = true;
    loop_.poll(control_.ring.ring_fd, POLLIN, [self = weak_from_this()](int) {
      const auto driver = self.lock();
      if (!driver) return;
      driver->watching_ = false;
      driver->reap();
      if (driver.use_count() > 1) driver->flush();
    });
  }

  void reap() {
    io_uring_cqe* completion = nullptr;
    while (io_uring_peek_cqe(&control_.ring, &completion) == 0 && completion != nullptr) {
      const uint64_t data = completion->user_data;
      const int result = completion->res;
      io_uring_cqe_seen(&control_.ring, completion);
      if ((data & kQueueData) != 0) {
        if (fetched_) fetched_(static_cast<uint32_t>(data), result);
        continue;
      }
      auto command = commands_.extract(data);
      if (!command.empty()) command.mapped()(result);
    }
  }

  void close_queue() {
    if (descriptors_ != nullptr) munmap(const_cast<ublksrv_io_desc*>(descriptors_), descriptor_bytes());
    descriptors_ = nullptr;
    queue_.close();
  }

  Ring& loop_;
  Control control_;
  ublksrv_ctrl_dev_info information_{};
  ublk_params parameters_{};
  uint32_t depth_ = 0;
  uint32_t number_ = kNewDevice;
  OwnedFd queue_;
  const ublksrv_io_desc* descriptors_ = nullptr;
  Fetched fetched_;
  std::unordered_map<uint64_t, Done> commands_;
  uint64_t last_command_ = 0;
  bool watching_ = false;
};

}  // namespace

Result<std::shared_ptr<UblkDriver>> make_ublk_driver(Ring& ring) {
  auto driver = std::make_shared<UblkKernelDriver>(ring);
  if (auto opened = driver->open(); !opened) return pass(opened);
  return driver;
}

bool probe_ublk() {
  Control control;
  if (!control.open(4)) return false;
  uint64_t features = 0;
  ublksrv_ctrl_cmd question = command_for(kNewDevice);
  question.addr = reinterpret_cast<uint64_t>(&features);
  question.len = sizeof features;
  const uint64_t needed = kFeatureIoctlEncoding | kFeatureUserCopy;
  return control.ask(kControlGetFeatures, question) >= 0 && (features & needed) == needed;
}

std::string reclaim_ublk(int number, int owner) {
  Control control;
  if (!control.open(4)) return "";
  ublksrv_ctrl_dev_info information{};
  ublksrv_ctrl_cmd command = command_for(static_cast<uint32_t>(number));
  command.addr = reinterpret_cast<uint64_t>(&information);
  command.len = sizeof information;
  if (control.ask(kControlGetInfo, command) < 0) return "";
  // A device whose server is somebody else is somebody else's.
  if (information.ublksrv_pid > 0 && information.ublksrv_pid != owner) return "";
  control.ask(kControlStop, command_for(static_cast<uint32_t>(number)));
  const int removed = control.ask(kControlDelete, command_for(static_cast<uint32_t>(number)));
  if (removed < 0)
    return fmt::format("/dev/ublkb{}, left behind, cannot be removed: {}", number, errno_text(-removed));
  return fmt::format("/dev/ublkb{}, left behind by an earlier daemon, was removed", number);
}

}  // namespace baton::mirror
