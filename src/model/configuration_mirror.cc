// Reads a mirror: [group.GROUP.mirror.NAME], and judges what must fit together in a group's mirrors.
#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr uint64_t kSmallestMirror = 1 << 20;
constexpr uint64_t kLargestMirror = 64ull << 40;
constexpr uint64_t kBlock = 4096;
constexpr uint16_t kFirstMirrorPort = 7800;
constexpr uint64_t kSlowestRate = 64 << 10;   // slower, a copy of a few GiB would take days
constexpr uint64_t kSmallestXfs = 300 << 20;  // mkfs.xfs refuses less
constexpr uint64_t kSmallestBtrfs = 128 << 20;
constexpr milliseconds kLongestMirrorTimeout = 600s;
constexpr milliseconds kShortestLag = 500ms;
constexpr milliseconds kLongestLag = 3600s;

/// Reports a second use of a path or port that only one mirror may use.
template <class Key>
void claim(std::map<Key, std::string>& used, const Key& key, const std::string& text, const std::string& what,
           SectionReader& section, const std::string& name) {
  auto [first, added] = used.emplace(key, section.path());
  if (!added) {
    section.findings().add(section.position_of(name), "{} {} is already that of [{}]: give each its own", what,
                           text, first->second);
  }
}

void read_size(SectionReader& section, MirrorConfiguration& mirror) {
  section.require("size", "add size = \"512 MiB\", what the service sees of the disk");
  if (!section.read_size("size", mirror.size_bytes)) return;
  SourcePosition position = section.position_of("size");
  if (mirror.size_bytes < kSmallestMirror || mirror.size_bytes > kLargestMirror) {
    section.findings().add(position, "a mirror of {} cannot be made: its size must be from 1 MiB to 64 TiB",
                           format_size(mirror.size_bytes));
  } else if (mirror.size_bytes % kBlock != 0) {
    section.findings().add(position, "size {} is no multiple of 4096 bytes: use {}",
                           format_size(mirror.size_bytes), format_size(mirror.size_bytes / kBlock * kBlock));
  }
}

void read_places(SectionReader& section, MirrorConfiguration& mirror, ConfigurationDraft& draft) {
  section.require("store",
                  "add store = \"/var/lib/baton/store/NAME.img\", a file or block device on both servers");
  if (section.read_string("store", mirror.store) &&
      check_path(mirror.store, "store", section.position_of("store"), draft.findings)) {
    claim(draft.stores, mirror.store, mirror.store, "store", section, "store");
  }
  if (section.read_string("metadata", mirror.metadata) &&
      check_path(mirror.metadata, "metadata", section.position_of("metadata"), draft.findings)) {
    claim(draft.stores, mirror.metadata, mirror.metadata, "metadata", section, "metadata");
  }
  // The running number counts every mirror, so that giving one its own port does not move the others.
  int64_t port = kFirstMirrorPort + draft.mirror_count++;
  section.read_integer("port", 1024, 65535, port);
  mirror.port = static_cast<uint16_t>(port);
  claim(draft.ports, mirror.port, std::to_string(port), "port", section, "port");
}

void read_protocol(SectionReader& section, MirrorConfiguration& mirror) {
  std::string protocol;
  if (!section.read_string("protocol", protocol)) return;
  if (protocol == "A") {
    mirror.protocol = MirrorProtocol::kA;
  } else if (protocol == "B") {
    mirror.protocol = MirrorProtocol::kB;
  } else if (protocol != "C") {
    section.findings().add(section.position_of("protocol"),
                           "unknown protocol \"{}\": use \"C\" (a write is done when both disks have it), \"B\" (when "
                           "the other server has received it) or \"A\" (when it is on its way)",
                           protocol);
  }
}

void read_max_lag(SectionReader& section, MirrorConfiguration& mirror) {
  section.read_duration("max_lag", kShortestLag, kLongestLag, mirror.max_lag);
  if (mirror.max_lag == milliseconds(0) || mirror.protocol == MirrorProtocol::kA) return;
  section.findings().add(section.position_of("max_lag"),
                         "\"max_lag\" is for protocol \"A\" only: under \"{}\" a copy that takes over by itself lacks "
                         "nothing. Leave it out, or write protocol = \"A\"",
                         to_string(mirror.protocol));
}

void read_rate(SectionReader& section, MirrorConfiguration& mirror) {
  const TomlValue* value = section.find("rate");
  if (!value) return;
  if (value->kind == TomlValue::Kind::kInteger && value->integer == 0) return;
  std::string text;
  if (!section.read_string("rate", text)) return;
  const auto rate = parse_rate(text);
  if (!rate) {
    section.findings().add(value->position,
                           "\"rate\" is \"{}\", which is no rate: write \"auto\", or a whole number and KB/s, MB/s, "
                           "GB/s (or KiB/s, MiB/s, GiB/s), as in \"50MB/s\"",
                           text);
  } else if (*rate != 0 && *rate < kSlowestRate) {
    section.findings().add(value->position, "\"rate\" is {}: a copy would never end; use at least {}, or \"auto\"",
                           text, format_rate(kSlowestRate));
  } else {
    mirror.rate = *rate;
  }
}

void read_export(SectionReader& section, MirrorConfiguration& mirror) {
  const std::vector<std::string> known = {"auto", "ublk", "nbd", "fuse"};
  if (!section.read_string("export", mirror.export_kind)) return;
  if (std::find(known.begin(), known.end(), mirror.export_kind) != known.end()) return;
  section.findings().add(section.position_of("export"),
                         "unknown export \"{}\": use \"auto\", or one of \"ublk\", \"nbd\", \"fuse\"",
                         mirror.export_kind);
}

void read_adopt(SectionReader& section, MirrorConfiguration& mirror, ConfigurationDraft& draft) {
  if (!section.read_string("adopt", mirror.adopt)) return;
  const ServerConfiguration* server = draft.configuration.server(mirror.adopt);
  if (server) {
    mirror.adopt = server->name;
    return;
  }
  draft.findings.add(section.position_of("adopt"),
                     "unknown server \"{}\": name the one whose store holds the data to be kept", mirror.adopt);
  mirror.adopt.clear();
}

}  // namespace

void read_mirror(SectionReader& section, MirrorConfiguration& mirror, ConfigurationDraft& draft) {
  read_size(section, mirror);
  read_places(section, mirror, draft);
  read_protocol(section, mirror);
  section.read_boolean("encrypt", mirror.encrypt);
  section.read_boolean("compress", mirror.compress);
  // Shorter ones would take a disk or a peer that is merely busy for a broken one.
  section.read_duration("disk_timeout", 1s, kLongestMirrorTimeout, mirror.disk_timeout);
  section.read_duration("peer_timeout", 500ms, kLongestMirrorTimeout, mirror.peer_timeout);
  read_max_lag(section, mirror);
  read_rate(section, mirror);
  read_export(section, mirror);
  read_adopt(section, mirror, draft);
}

void check_mirrors(const std::string& path, const GroupConfiguration& group, ConfigurationDraft& draft) {
  std::string adopted;
  for (const ResourceConfiguration& resource : group.resources) {
    if (resource.kind != ResourceKind::kMirror || resource.mirror.adopt.empty()) continue;
    SourcePosition position = draft.findings.position(path + ".mirror." + resource.name + ".adopt");
    const ServerConfiguration* server = draft.configuration.server(resource.mirror.adopt);
    if (std::find(group.servers.begin(), group.servers.end(), server->id) == group.servers.end()) {
      draft.findings.add(position, "\"{}\" is not among the servers of group \"{}\": adopt the store of one that is",
                         server->name, group.name);
    } else if (!adopted.empty() && adopted != server->name) {
      draft.findings.add(position,
                         "the mirrors of group \"{}\" adopt stores of {} and of {}: the group can begin on one server "
                         "only; bring the data to one of them first",
                         group.name, adopted, server->name);
    }
    if (adopted.empty()) adopted = server->name;
  }
}

void check_filesystem_size(const FilesystemConfiguration& filesystem, const MirrorConfiguration& mirror,
                           SourcePosition position, ConfigurationFindings& findings) {
  const uint64_t least = filesystem.type == "xfs" ? kSmallestXfs : filesystem.type == "btrfs" ? kSmallestBtrfs : 0;
  if (mirror.size_bytes == 0 || mirror.size_bytes >= least) return;
  findings.add(position, "{} needs a mirror of at least {}, this one has {}: make the mirror larger, or use \"ext4\"",
               filesystem.type, format_size(least), format_size(mirror.size_bytes));
}

}  // namespace baton
