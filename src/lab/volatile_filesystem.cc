// The FUSE side of a volatile disk; see volatile_filesystem.h. Called by libfuse's threads.
#include "src/lab/volatile_filesystem.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "src/lab/volatile_reply.h"

namespace baton::lab {
namespace {

constexpr double kValidity = 1.0;  // seconds that the kernel may keep names and attributes

VolatileNodes& nodes_of(fuse_req_t request) { return *static_cast<VolatileNodes*>(fuse_req_userdata(request)); }

VolatileNode& node_of(fuse_req_t request, fuse_ino_t number) {
  return number == FUSE_ROOT_ID ? *nodes_of(request).root() : *reinterpret_cast<VolatileNode*>(number);
}

std::string by_descriptor(int path) { return fmt::format("/proc/self/fd/{}", path); }

void reply_status(fuse_req_t request, int error) { fuse_reply_err(request, error); }

// Finds a name, counts the lookup and fills in the kernel's entry.
int find_entry(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_entry_param& entry) {
  int path = openat(node_of(request, parent).path, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (path < 0) return errno;
  entry = {};
  if (fstatat(path, "", &entry.attr, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) {
    int error = errno;
    close(path);
    return error;
  }
  auto& nodes = nodes_of(request);
  entry.ino = kernel_number(nodes, nodes.adopt(path, entry.attr));
  entry.attr_timeout = entry.entry_timeout = kValidity;
  return 0;
}

void reply_entry(fuse_req_t request, fuse_ino_t parent, const char* name) {
  fuse_entry_param entry;
  if (int error = find_entry(request, parent, name, entry); error != 0) return reply_status(request, error);
  fuse_reply_entry(request, &entry);
}

// The new entry belongs to whoever asked for it, not to this process.
void give_to_caller(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const auto* caller = fuse_req_ctx(request);
  (void)!fchownat(node_of(request, parent).path, name, caller->uid, caller->gid, AT_SYMLINK_NOFOLLOW);
}

void finish_new_entry(fuse_req_t request, fuse_ino_t parent, const char* name, int result) {
  if (result != 0) return reply_status(request, errno);
  give_to_caller(request, parent, name);
  reply_entry(request, parent, name);
}

void on_init(void*, fuse_conn_info* connection) {
  connection->max_write = 1 << 20;
  connection->max_background = 128;
  connection->congestion_threshold = 96;
  // Only this mount changes the files: the cache needs no second guessing. Splicing costs more than it saves
  // for small requests.
  connection->want &= ~unsigned(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
                                FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) { reply_entry(request, parent, name); }

void on_forget(fuse_req_t request, fuse_ino_t number, uint64_t lookups) {
  nodes_of(request).forget(&node_of(request, number), lookups);
  fuse_reply_none(request);
}

void on_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* each) {
  for (size_t i = 0; i < count; i++) nodes_of(request).forget(&node_of(request, each[i].ino), each[i].nlookup);
  fuse_reply_none(request);
}

void on_getattr(fuse_req_t request, fuse_ino_t number, fuse_file_info*) {
  struct stat attributes {};
  auto flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  if (fstatat(node_of(request, number).path, "", &attributes, flags) != 0) return reply_status(request, errno);
  fuse_reply_attr(request, &attributes, kValidity);
}

int set_times(int path, const struct stat& attributes, int what) {
  timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  if (what & FUSE_SET_ATTR_ATIME) times[0] = attributes.st_atim;
  if (what & FUSE_SET_ATTR_MTIME) times[1] = attributes.st_mtim;
  if (what & FUSE_SET_ATTR_ATIME_NOW) times[0].tv_nsec = UTIME_NOW;
  if (what & FUSE_SET_ATTR_MTIME_NOW) times[1].tv_nsec = UTIME_NOW;
  if (times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT) return 0;
  return utimensat(AT_FDCWD, by_descriptor(path).c_str(), times, 0) == 0 ? 0 : errno;
}

int set_attributes(VolatileNodes& nodes, VolatileNode& node, const struct stat& attributes, int what) {
  if ((what & FUSE_SET_ATTR_MODE) && chmod(by_descriptor(node.path).c_str(), attributes.st_mode) != 0)
    return errno;
  if (what & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) {
    uid_t owner = what & FUSE_SET_ATTR_UID ? attributes.st_uid : uid_t(-1);
    gid_t group = what & FUSE_SET_ATTR_GID ? attributes.st_gid : gid_t(-1);
    if (fchownat(node.path, "", owner, group, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) return errno;
  }
  if (what & FUSE_SET_ATTR_SIZE) {
    if (int error = nodes.truncate(node, uint64_t(attributes.st_size)); error != 0) return error;
  }
  return set_times(node.path, attributes, what);
}

void on_setattr(fuse_req_t request, fuse_ino_t number, struct stat* attributes, int what,
                fuse_file_info* file) {
  int error = set_attributes(nodes_of(request), node_of(request, number), *attributes, what);
  if (error != 0) return reply_status(request, error);
  on_getattr(request, number, file);
}

void on_readlink(fuse_req_t request, fuse_ino_t number) {
  char target[PATH_MAX + 1];
  ssize_t count = readlinkat(node_of(request, number).path, "", target, sizeof target - 1);
  if (count < 0) return reply_status(request, errno);
  target[count] = '\0';
  fuse_reply_readlink(request, target);
}

void on_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  if (nodes_of(request).full) return reply_status(request, ENOSPC);
  finish_new_entry(request, parent, name, mknodat(node_of(request, parent).path, name, mode, device));
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  if (nodes_of(request).full) return reply_status(request, ENOSPC);
  finish_new_entry(request, parent, name, mkdirat(node_of(request, parent).path, name, mode));
}

void on_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  if (nodes_of(request).full) return reply_status(request, ENOSPC);
  finish_new_entry(request, parent, name, symlinkat(target, node_of(request, parent).path, name));
}

void on_link(fuse_req_t request, fuse_ino_t number, fuse_ino_t parent, const char* name) {
  auto source = by_descriptor(node_of(request, number).path);
  int result = linkat(AT_FDCWD, source.c_str(), node_of(request, parent).path, name, AT_SYMLINK_FOLLOW);
  if (result != 0) return reply_status(request, errno);
  reply_entry(request, parent, name);
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  reply_status(request, unlinkat(node_of(request, parent).path, name, 0) == 0 ? 0 : errno);
}

void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  reply_status(request, unlinkat(node_of(request, parent).path, name, AT_REMOVEDIR) == 0 ? 0 : errno);
}

void on_rename(fuse_req_t request, fuse_ino_t from, const char* name, fuse_ino_t to, const char* new_name,
               unsigned flags) {
  int result = renameat2(node_of(request, from).path, name, node_of(request, to).path, new_name, flags);
  reply_status(request, result == 0 ? 0 : errno);
}

void on_open(fuse_req_t request, fuse_ino_t number, fuse_file_info* file) {
  auto& nodes = nodes_of(request);
  auto& node = node_of(request, number);
  if (int error = nodes.open_backing(node); error != 0) return reply_status(request, error);
  if (file->flags & O_TRUNC) {
    if (int error = nodes.truncate(node, 0); error != 0) return reply_status(request, error);
  }
  reply_open(request, (file->flags & O_DIRECT) != 0);
}

void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* file) {
  auto& nodes = nodes_of(request);
  if (nodes.full) return reply_status(request, ENOSPC);
  int made =
      openat(node_of(request, parent).path, name, O_CREAT | O_RDWR | O_CLOEXEC | (file->flags & O_EXCL), mode);
  if (made < 0) return reply_status(request, errno);
  close(made);
  give_to_caller(request, parent, name);
  fuse_entry_param entry;
  if (int error = find_entry(request, parent, name, entry); error != 0) return reply_status(request, error);
  auto& node = node_of(request, entry.ino);
  int error = nodes.open_backing(node);
  if (error == 0 && (file->flags & O_TRUNC)) error = nodes.truncate(node, 0);
  if (error != 0) {
    nodes.forget(&node, 1);
    return reply_status(request, error);
  }
  reply_create(request, entry.ino, entry.attr, kValidity, (file->flags & O_DIRECT) != 0);
}

void on_read(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, fuse_file_info*) {
  thread_local std::vector<char> buffer;
  if (buffer.size() < size) buffer.resize(size);
  size_t count = 0;
  int error = nodes_of(request).read(node_of(request, number), uint64_t(offset), {buffer.data(), size}, count);
  if (error != 0) return reply_status(request, error);
  fuse_reply_buf(request, buffer.data(), count);
}

/// A slow disk's latency, before a thing is done and without a lock: as many at once as there are threads (its queue).
void take_time(const VolatileNodes& nodes) {
  if (unsigned delay = nodes.slow_ms; delay > 0) std::this_thread::sleep_for(std::chrono::milliseconds(delay));
}

void on_write(fuse_req_t request, fuse_ino_t number, const char* data, size_t size, off_t offset,
              fuse_file_info* file) {
  auto& nodes = nodes_of(request);
  auto& node = node_of(request, number);
  take_time(nodes);
  int error = nodes.write(node, uint64_t(offset), {data, size});
  if (error == 0 && (file->flags & O_DSYNC)) error = nodes.sync(node, (file->flags & O_SYNC) != O_SYNC);
  if (error != 0) return reply_status(request, error);
  fuse_reply_write(request, size);
}

void on_fsync(fuse_req_t request, fuse_ino_t number, int data_only, fuse_file_info*) {
  take_time(nodes_of(request));
  reply_status(request, nodes_of(request).sync(node_of(request, number), data_only != 0));
}

void on_fallocate(fuse_req_t request, fuse_ino_t number, int mode, off_t offset, off_t length,
                  fuse_file_info*) {
  int error = nodes_of(request).allocate(node_of(request, number), mode, uint64_t(offset), uint64_t(length));
  reply_status(request, error);
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info*) { reply_status(request, 0); }

void on_opendir(fuse_req_t request, fuse_ino_t number, fuse_file_info* file) {
  int descriptor = openat(node_of(request, number).path, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* directory = descriptor < 0 ? nullptr : fdopendir(descriptor);
  if (directory == nullptr) return reply_status(request, errno);
  file->fh = reinterpret_cast<uint64_t>(directory);
  if (fuse_reply_open(request, file) != 0) closedir(directory);
}

void on_readdir(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  auto* directory = reinterpret_cast<DIR*>(file->fh);
  std::vector<char> buffer(size);
  size_t used = 0;
  if (offset != telldir(directory)) seekdir(directory, offset);
  while (true) {
    long before = telldir(directory);
    errno = 0;
    dirent* entry = readdir(directory);
    if (entry == nullptr) {
      if (errno != 0 && used == 0) return reply_status(request, errno);
      break;
    }
    struct stat attributes {};
    attributes.st_ino = entry->d_ino;
    attributes.st_mode = mode_t(entry->d_type) << 12;
    size_t need = fuse_add_direntry(request, buffer.data() + used, size - used, entry->d_name, &attributes,
                                    telldir(directory));
    if (need > size - used) {
      seekdir(directory, before);
      break;
    }
    used += need;
  }
  fuse_reply_buf(request, buffer.data(), used);
}

void on_releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  closedir(reinterpret_cast<DIR*>(file->fh));
  reply_status(request, 0);
}

void on_fsyncdir(fuse_req_t request, fuse_ino_t, int, fuse_file_info* file) {
  reply_status(request, fsync(dirfd(reinterpret_cast<DIR*>(file->fh))) == 0 ? 0 : errno);
}

void on_statfs(fuse_req_t request, fuse_ino_t number) {
  struct statvfs figures {};
  if (fstatvfs(node_of(request, number).path, &figures) != 0) return reply_status(request, errno);
  if (nodes_of(request).full) figures.f_bfree = figures.f_bavail = 0;
  fuse_reply_statfs(request, &figures);
}

}  // namespace

fuse_ino_t kernel_number(VolatileNodes& nodes, const VolatileNode* node) {
  return node == nodes.root() ? FUSE_ROOT_ID : reinterpret_cast<fuse_ino_t>(node);
}

void drop_kernel_caches(fuse_session* session, VolatileNodes& nodes) {
  for (const auto* node : nodes.known()) {
    (void)fuse_lowlevel_notify_inval_inode(session, kernel_number(nodes, node), 0, 0);
  }
}

const fuse_lowlevel_ops& volatile_operations() {
  static const fuse_lowlevel_ops operations = [] {
    fuse_lowlevel_ops all{};
    all.init = on_init;
    all.lookup = on_lookup;
    all.forget = on_forget;
    all.forget_multi = on_forget_multi;
    all.getattr = on_getattr;
    all.setattr = on_setattr;
    all.readlink = on_readlink;
    all.mknod = on_mknod;
    all.mkdir = on_mkdir;
    all.symlink = on_symlink;
    all.link = on_link;
    all.unlink = on_unlink;
    all.rmdir = on_rmdir;
    all.rename = on_rename;
    all.open = on_open;
    all.create = on_create;
    all.read = on_read;
    all.write = on_write;
    all.fsync = on_fsync;
    all.fallocate = on_fallocate;
    all.release = on_release;
    all.opendir = on_opendir;
    all.readdir = on_readdir;
    all.releasedir = on_releasedir;
    all.fsyncdir = on_fsyncdir;
    all.statfs = on_statfs;
    return all;
  }();
  return operations;
}

}  // namespace baton::lab
