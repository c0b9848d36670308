// See secret_remover.h. Scanners by hand: std::regex recurses over long lines.
#include "src/cli/secret_remover.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "src/model/configuration_toml.h"

namespace baton::cli {
namespace {

constexpr size_t kShortestSecret = 4;
constexpr size_t kShortestForeignSecret = 8;  // of environment values whose name does not look secret
constexpr size_t kLongNumber = 64;            // hexadecimal digits

std::string lower(std::string_view text) {
  std::string made(text);
  std::transform(made.begin(), made.end(), made.begin(), [](unsigned char letter) { return std::tolower(letter); });
  return made;
}

bool is_name_letter(char letter) {
  return std::isalnum(static_cast<unsigned char>(letter)) || letter == '_' || letter == '-' || letter == '.';
}

bool ends_value(char letter) {
  return std::isspace(static_cast<unsigned char>(letter)) || letter == '"' || letter == '\'' || letter == ',' ||
         letter == ']' || letter == '}' || letter == ';' || letter == '&' || letter == '\\' || letter == '\0';
}

/// "500", "500 ms": corosync's token is a time.
bool is_time(std::string_view value) {
  size_t digits = 0;
  while (digits < value.size() && std::isdigit(static_cast<unsigned char>(value[digits]))) ++digits;
  if (digits == 0 || digits > 6) return false;
  const auto unit = value.substr(digits);
  return unit.empty() || unit == "ms" || unit == "s" || unit == "min" || unit == "h" || unit == " ms" ||
         unit == " s" || unit == " min" || unit == " h";
}

/// Corosync's and the configuration's timing have a "token", too.
bool is_timing(std::string_view name, std::string_view value) {
  const std::string lowered = lower(name);
  return (lowered == "token" || lowered.ends_with(".token")) && is_time(value);
}

bool is_harmless_value(const std::string& value) {
  return value.size() < kShortestForeignSecret || value.starts_with("/") || value.starts_with("C.") ||
         value.ends_with("UTF-8");
}

/// Where the quoted text that begins at `at` ends (behind its last letter); `at` is the opening quote.
size_t end_of_quoted(const std::string& text, size_t at) {
  const char quote = text[at];
  for (size_t place = at + 1; place < text.size(); ++place) {
    if (text[place] == '\\' && quote == '"') {
      ++place;
    } else if (text[place] == quote || text[place] == '\n') {
      return place;
    }
  }
  return text.size();
}

size_t offset_of(const std::string& text, SourcePosition position) {
  size_t at = 0;
  for (uint32_t line = 1; line < position.line && at != std::string::npos; ++line) {
    at = text.find('\n', at);
    if (at != std::string::npos) ++at;
  }
  return at == std::string::npos ? at : at + position.column - 1;
}

/// The value after a secret name: [begin, end); empty if there is none.
std::pair<size_t, size_t> value_after(const std::string& text, size_t at, std::string_view name) {
  const bool option = name.starts_with('-') || lower(name) == "bearer" || lower(name) == "basic";
  bool separated = option;
  size_t place = at;
  while (place < text.size()) {
    const char letter = text[place];
    if (letter == '=' || letter == ':' || letter == ',') {
      separated = true;
    } else if (letter == '\n' || (letter != ' ' && letter != '\t' && letter != '\\' && letter != '"' && letter != '\'')) {
      break;
    }
    ++place;
  }
  if (!separated || place == at) return {at, at};
  if (lower(name).ends_with("authorization")) return {place, std::min(text.find_first_of("\r\n\"", place), text.size())};
  const bool escaped = place > 1 && text[place - 1] == '"' && text[place - 2] == '\\';  // \"...\" inside of JSON
  const bool quoted = place > 0 && (text[place - 1] == '"' || text[place - 1] == '\'');
  size_t end = place;
  if (escaped) {
    end = std::min({text.find("\\\"", place), text.find('\n', place), text.size()});
  } else if (quoted) {
    end = end_of_quoted(text, place - 1);
  } else {
    while (end < text.size() && !ends_value(text[end])) ++end;
  }
  return {place, end};
}

}  // namespace

bool is_secret_name(std::string_view given) {
  const std::string name = lower(given);
  for (const char* part : {"password", "passwd", "passphrase", "secret", "credential", "private_key", "private-key",
                           "privatekey", "api_key", "api-key", "apikey", "access_key", "access-key", "accesskey",
                           "auth_key", "auth-key", "cookie"}) {
    if (name.find(part) != std::string::npos) return true;
  }
  for (const char* end : {"token", "pass", "pwd", "authorization", "bearer", "pin", "psk", "_key", "-key", "wskey"}) {
    if (!name.ends_with(end)) continue;
    const size_t before = name.size() - std::string_view(end).size();
    if (before == 0 || !std::isalpha(static_cast<unsigned char>(name[before - 1])) || end == std::string_view("token") ||
        end == std::string_view("pwd"))
      return true;
  }
  return false;
}

void SecretRemover::add_secret(const std::string& secret) {
  if (secret.size() < kShortestSecret) return;
  secrets_.insert(secret);
  std::string escaped = nlohmann::json(secret).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  escaped = escaped.substr(1, escaped.size() - 2);
  if (escaped.size() >= kShortestSecret) secrets_.insert(escaped);
}

std::string SecretRemover::clean_configuration(const std::string& toml) {
  std::string text = toml;
  const auto checked = read_configuration(toml);
  std::vector<std::pair<size_t, size_t>> places;
  for (const auto& [path, position] : checked.positions) {
    if (path.find(".environment.") == std::string::npos) continue;
    const size_t at = offset_of(text, position);
    if (at < text.size() && (text[at] == '"' || text[at] == '\'')) places.emplace_back(at + 1, end_of_quoted(text, at));
  }
  for (const auto& group : checked.configuration.groups) {
    for (const auto& resource : group.resources)
      for (const auto& [name, value] : resource.service.environment)
        if (is_secret_name(name) || !is_harmless_value(value)) add_secret(value);
  }
  // From behind, so that the places before stay where they are.
  std::sort(places.rbegin(), places.rend());
  for (const auto& [begin, end] : places) take_out(text, begin, end);
  std::set<std::string> found;
  remove_named(text, &found);
  for (const auto& secret : found)
    if (!is_harmless_value(secret) || secret.size() >= 6) add_secret(secret);
  if (!checked.ok() && places.empty()) {
    for (size_t at = text.find("environment"); at != std::string::npos; at = text.find("environment", at + 1))
      take_out(text, at + 11, std::min(text.find_first_of("}[", at + 11), text.size()));
  }
  return clean(std::move(text));
}

std::string SecretRemover::clean(std::string text) {
  remove_private_keys(text);
  remove_known(text);
  remove_long_numbers(text);
  remove_url_passwords(text);
  remove_named(text, nullptr);
  return text;
}

nlohmann::json SecretRemover::clean_json(const nlohmann::json& value) {
  if (value.is_string()) return clean(value.get<std::string>());
  nlohmann::json made = value;
  if (value.is_array()) {
    for (auto& item : made) item = clean_json(item);
  } else if (value.is_object()) {
    for (auto& [name, item] : made.items()) {
      const bool secret = is_secret_name(name) && item.is_string() && !is_timing(name, item.get<std::string>());
      if (secret) ++removed_;
      item = secret ? nlohmann::json(kRemoved) : clean_json(item);
    }
  }
  return made;
}

void SecretRemover::take_out(std::string& text, size_t begin, size_t end) {
  if (end <= begin || text.compare(begin, end - begin, kRemoved) == 0) return;
  text.replace(begin, end - begin, kRemoved);
  ++removed_;
}

void SecretRemover::remove_known(std::string& text) {
  // The longest first: one may be part of another.
  std::vector<std::string> secrets(secrets_.begin(), secrets_.end());
  std::sort(secrets.begin(), secrets.end(),
            [](const std::string& left, const std::string& right) { return left.size() > right.size(); });
  for (const auto& secret : secrets) {
    for (size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at)) {
      take_out(text, at, at + secret.size());
      at += kRemoved.size();
    }
  }
}

void SecretRemover::remove_private_keys(std::string& text) {
  constexpr std::string_view kEnd = "PRIVATE KEY-----";
  for (size_t at = text.find("-----BEGIN "); at != std::string::npos; at = text.find("-----BEGIN ", at + 1)) {
    const size_t head = text.find(kEnd, at);
    const size_t line = text.find('\n', at);
    if (head == std::string::npos || head > at + 60 || head > line) continue;
    const size_t tail = text.find(kEnd, head + kEnd.size());
    take_out(text, at, tail == std::string::npos ? text.size() : tail + kEnd.size());
  }
}

void SecretRemover::remove_long_numbers(std::string& text) {
  size_t begin = 0;
  for (size_t at = 0; at <= text.size(); ++at) {
    if (at < text.size() && std::isxdigit(static_cast<unsigned char>(text[at]))) continue;
    if (at - begin >= kLongNumber) {
      take_out(text, begin, at);
      at = begin + kRemoved.size();
    }
    begin = at + 1;
  }
}

void SecretRemover::remove_url_passwords(std::string& text) {
  for (size_t at = text.find("://"); at != std::string::npos; at = text.find("://", at + 3)) {
    size_t end = at + 3, colon = std::string::npos, user_end = std::string::npos;
    for (; end < text.size() && !std::isspace(static_cast<unsigned char>(text[end])) && text[end] != '/' &&
           text[end] != '"' && text[end] != '\'';
         ++end) {
      if (text[end] == ':' && colon == std::string::npos) colon = end;
      if (text[end] == '@') user_end = end;
    }
    if (colon < user_end && user_end != std::string::npos) take_out(text, colon + 1, user_end);
  }
}

void SecretRemover::remove_named(std::string& text, std::set<std::string>* found) {
  size_t at = 0;
  while (at < text.size()) {
    if (!is_name_letter(text[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < text.size() && is_name_letter(text[end])) ++end;
    const std::string name = text.substr(at, end - at);
    at = end;
    if (!is_secret_name(name)) continue;
    const auto [begin, stop] = value_after(text, end, name);
    const std::string value = text.substr(begin, stop - begin);
    if (value.empty() || value == kRemoved || is_timing(name, value)) continue;
    if (found != nullptr) found->insert(value);
    take_out(text, begin, stop);
    at = begin + kRemoved.size();
  }
}

}  // namespace baton::cli
