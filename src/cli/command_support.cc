// What several commands share: printing, files, names.
#include <fmt/ranges.h>
#include <pwd.h>
#include <strings.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "src/cli/commands.h"

namespace baton::cli {

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_json(const json& value) { print(value.dump(2, ' ', false, json::error_handler_t::replace) + "\n"); }

void print_json_line(const json& value) {
  print(value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

void print_warning_of(const Context& context, NpKind kind) {
  const std::string warning = warning_of(kind);
  if (!context.json && !warning.empty()) print(context.painter.paint(wrap_text("warning: " + warning, 0), Colour::kYellow));
}

Result<json> find_named(const json& status, const char* list, const std::string& name) {
  std::vector<std::string> known;
  std::vector<const json*> without_group;
  for (const json& item : list_of(status, list)) {
    std::string candidate = text_of(item, "name");
    if (strcasecmp(candidate.c_str(), name.c_str()) == 0) return item;
    known.push_back(candidate);
    size_t dot = candidate.find('.');
    if (dot != std::string::npos && strcasecmp(candidate.c_str() + dot + 1, name.c_str()) == 0) {
      without_group.push_back(&item);
    }
  }
  if (without_group.size() == 1) return *without_group.front();
  std::string kind = std::string(list).substr(0, std::strlen(list) - 1);
  return fail_as(
      ErrorCode::kNotFound, "there is no {} \"{}\": {}", kind, name,
      known.empty() ? "the configuration has none" : fmt::format("known are {}", fmt::join(known, ", ")));
}

Result<std::string> read_whole_file(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (!file) return fail_as(ErrorCode::kNotFound, "cannot read {}: {}", path, strerror(errno));
  std::string text;
  char part[65536];
  size_t count = 0;
  while ((count = std::fread(part, 1, sizeof part, file)) > 0) text.append(part, count);
  int error_number = std::ferror(file) ? errno : 0;
  std::fclose(file);
  if (error_number != 0) return fail("cannot read {}: {}", path, strerror(error_number));
  return text;
}

std::string author() {
  if (const char* behind_sudo = std::getenv("SUDO_USER"); behind_sudo && *behind_sudo) return behind_sudo;
  const passwd* entry = getpwuid(getuid());
  return entry ? entry->pw_name : fmt::format("uid {}", getuid());
}

}  // namespace baton::cli
