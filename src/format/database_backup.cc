// See database_backup.h.
#include "src/format/database_backup.h"

#include <openssl/sha.h>

#include <set>

#include "src/format/command_codec.h"

namespace baton {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "baton database backup";
constexpr const char* kOrderFormat = "baton restore order";
constexpr int kVersion = 1;

std::string to_hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

int digit_of(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

Result<std::string> from_hex(const std::string& text) {
  std::string bytes;
  for (size_t at = 0; at < text.size(); at += 2) {
    const int high = digit_of(text[at]), low = at + 1 < text.size() ? digit_of(text[at + 1]) : -1;
    if (high < 0 || low < 0) return fail_as(ErrorCode::kInvalid, "hexadecimal digits were expected");
    bytes += static_cast<char>(high << 4 | low);
  }
  return bytes;
}

std::string checksum_of(const json& body) {
  const std::string text = body.dump();
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash);
  return to_hex({reinterpret_cast<const char*>(hash), sizeof hash});
}

json entry_to_json(const BackupEntry& entry) {
  return {{"epoch", entry.epoch},     {"index", entry.index},     {"origin", entry.origin},
          {"request", entry.request}, {"wall_ms", entry.wall_ms}, {"command", to_hex(encode_command(entry.command))}};
}

Result<BackupEntry> entry_from_json(const json& value, uint64_t expected, uint64_t epoch_before) {
  BackupEntry entry;
  entry.epoch = value.at("epoch").get<uint64_t>();
  entry.index = value.at("index").get<uint64_t>();
  entry.origin = value.at("origin").get<uint32_t>();
  entry.request = value.at("request").get<uint64_t>();
  entry.wall_ms = value.at("wall_ms").get<int64_t>();
  if (entry.index != expected || entry.epoch < epoch_before)
    return fail_as(ErrorCode::kInvalid, "its entries are not in order at entry {}", expected);
  const auto bytes = from_hex(value.at("command").get<std::string>());
  if (!bytes) return fail_as(ErrorCode::kInvalid, "entry {}: {}", expected, bytes.error().message);
  auto command = decode_command(*bytes);
  if (!command) return fail_as(ErrorCode::kInvalid, "entry {}: {}", expected, command.error().message);
  entry.command = std::move(*command);
  return entry;
}

Result<DatabaseBackup> read_body(const json& body) {
  DatabaseBackup backup;
  backup.cluster = body.at("cluster").get<std::string>();
  backup.server = body.at("server").get<std::string>();
  backup.made_ms = body.at("made_ms").get<int64_t>();
  backup.format_level = body.at("format_level").get<uint32_t>();
  backup.key_fingerprint = body.at("key_fingerprint").get<std::string>();
  backup.key = body.value("key", "");
  if (backup.format_level > kFormatLevel)
    return fail_as(ErrorCode::kInvalid, "its cluster was of level {}, this Baton knows level {}: install the version that made it, or "
                   "a later one", backup.format_level, kFormatLevel);
  for (const json& item : body.at("entries")) {
    auto entry = entry_from_json(item, backup.entries.size() + 1, backup.entries.empty() ? 0 : backup.entries.back().epoch);
    if (!entry) return pass(entry);
    backup.entries.push_back(std::move(*entry));
  }
  if (state_of(backup).configuration_version == 0) return fail_as(ErrorCode::kInvalid, "it holds no configuration");
  return backup;
}

Result<DatabaseBackup> read(const json& value) {
  const int version = value.at("version").get<int>();
  if (version != kVersion)
    return fail_as(ErrorCode::kInvalid, "it is a backup of version {}, this Baton reads version {}: install the version that made it, "
                   "or a later one", version, kVersion);
  const json& body = value.at("body");
  if (value.at("checksum").get<std::string>() != checksum_of(body))
    return fail_as(ErrorCode::kInvalid, "it is damaged: its checksum is wrong. Take an older one");
  return read_body(body);
}

}  // namespace

json backup_to_json(const DatabaseBackup& backup) {
  json entries = json::array();
  for (const auto& entry : backup.entries) entries.push_back(entry_to_json(entry));
  json body{{"cluster", backup.cluster},           {"server", backup.server},
            {"made_ms", backup.made_ms},           {"format_level", backup.format_level},
            {"key_fingerprint", backup.key_fingerprint}, {"entries", std::move(entries)}};
  if (!backup.key.empty()) body["key"] = backup.key;
  const std::string checksum = checksum_of(body);
  return {{"format", kFormat}, {"version", kVersion}, {"checksum", checksum}, {"body", std::move(body)}};
}

Result<DatabaseBackup> backup_from_text(const std::string& text) {
  if (text.empty()) return fail_as(ErrorCode::kInvalid, "it is empty");
  const json value = json::parse(text, nullptr, false);
  if (value.is_discarded() && text.find(kFormat) != std::string::npos)
    return fail_as(ErrorCode::kInvalid, "it is damaged or cut off ({} bytes are there). Take an older one", text.size());
  if (!value.is_object() || !value.contains("format") || value["format"] != kFormat)
    return fail_as(ErrorCode::kInvalid, "it is no backup of a cluster database (`baton cluster backup` makes one)");
  try {
    return read(value);
  } catch (const json::exception& problem) {
    return fail_as(ErrorCode::kInvalid, "it cannot be read: {}", problem.what());
  }
}

ClusterState state_of(const DatabaseBackup& backup) {
  ClusterState state;
  std::set<std::pair<uint32_t, uint64_t>> seen;
  for (const auto& entry : backup.entries)
    if (entry.request == 0 || seen.emplace(entry.origin, entry.request).second)
      (void)apply_command(state, entry.command, entry.index);
  return state;
}

std::string write_restore_order(const RestoreOrder& order) {
  return json{{"format", kOrderFormat}, {"random", order.random}, {"survivors", order.survivors},
              {"wall_ms", order.wall_ms}, {"author", order.author},
              {"had_database", order.had_database}, {"backup", order.backup}}
      .dump(1, ' ', false, json::error_handler_t::replace);
}

Result<RestoreOrder> read_restore_order(const std::string& text) {
  try {
    const json value = json::parse(text);
    if (value.at("format") != kOrderFormat) return fail_as(ErrorCode::kInvalid, "it is no order of `baton cluster restore`");
    RestoreOrder order;
    order.random = value.at("random").get<uint64_t>();
    order.survivors = value.at("survivors").get<std::vector<uint32_t>>();
    order.wall_ms = value.at("wall_ms").get<int64_t>();
    order.author = value.at("author").get<std::string>();
    order.had_database = value.at("had_database").get<bool>();
    order.backup = value.at("backup").get<std::string>();
    return order;
  } catch (const json::exception& problem) {
    return fail_as(ErrorCode::kInvalid, "it cannot be read: {}", problem.what());
  }
}

}  // namespace baton
