// Files in the sandbox MQL5/Files, or Common with FILE_COMMON.
#pragma once
#include "clock.hpp"

namespace mql {
struct File {
  FILE* stream;
  int flags;
  std::string separator, codepage;
};
inline std::map<int, File> files;
inline int last_file = 0;

// The path on disk, empty (and error 5002) when it would leave the sandbox.
inline std::string disk_path(const string& name, int flags) {
  std::string path = name.utf8();
  std::replace(path.begin(), path.end(), '\\', '/');
  if (path.empty() || path[0] == '/' || path.find(':') != std::string::npos || ("/" + path + "/").find("/../") != std::string::npos) {
    _LastError = ERR_WRONG_FILENAME;
    return "";
  }
  return environment(flags & FILE_COMMON ? "MQL_COMMON" : "MQL_FILES") + "/" + path;
}
inline void make_folders(const std::string& path) {
  for (size_t i = 1; i < path.size(); i++) if (path[i] == '/') mkdir(path.substr(0, i).c_str(), 0755);
}
inline File* file(int handle) {
  auto at = files.find(handle);
  if (at == files.end()) { _LastError = ERR_INVALID_FILEHANDLE; return nullptr; }
  return &at->second;
}
inline bool is_text(const File& f) { return !(f.flags & FILE_BIN); }
// The adversary's failing write: the counter says which one from now on fails.
inline bool write_fails() {
  if (faults.writes_fail > 0 && --faults.writes_fail == 0) { _LastError = ERR_FILE_WRITEERROR; return true; }
  return false;
}
inline uint put_bytes(int handle, const void* from, size_t size) {
  File* f = file(handle);
  if (!f || write_fails()) return 0;
  return (uint)fwrite(from, 1, size, f->stream);
}
inline std::string coded(const File& f, const string& text) {
  if (f.flags & FILE_ANSI) return text.utf8();  // the shim's only codepage is UTF-8
  return std::string((const char*)text.units.data(), text.units.size() * 2);
}
}  // namespace mql

inline int FileOpen(const string& name, int flags, short separator = '\t', uint = CP_ACP) {
  if (mql::files.size() >= 64) { _LastError = ERR_TOO_MANY_FILES; return INVALID_HANDLE; }
  std::string path = mql::disk_path(name, flags);
  if (path.empty()) return INVALID_HANDLE;
  if (mql::faults.files_fail > 0) { mql::faults.files_fail--; _LastError = ERR_CANNOT_OPEN_FILE; return INVALID_HANDLE; }
  if (flags & FILE_WRITE) mql::make_folders(path);
  bool both = (flags & FILE_READ) && (flags & FILE_WRITE);
  FILE* stream = fopen(path.c_str(), both ? "r+b" : flags & FILE_WRITE ? "wb" : "rb");
  if (!stream && both) stream = fopen(path.c_str(), "w+b");
  struct stat about;
  if (stream && fstat(fileno(stream), &about) == 0 && S_ISDIR(about.st_mode)) { fclose(stream); stream = nullptr; }
  if (!stream) { _LastError = ERR_CANNOT_OPEN_FILE; return INVALID_HANDLE; }
  int handle = ++mql::last_file;
  mql::files[handle] = {stream, flags, string(std::u16string(1, (char16_t)separator)).utf8(), ""};
  return handle;
}
inline void FileClose(int handle) { if (auto* f = mql::file(handle)) { fclose(f->stream); mql::files.erase(handle); } }
inline void FileFlush(int handle) { if (auto* f = mql::file(handle)) fflush(f->stream); }
inline bool FileIsExist(const string& name, int flags = 0) {
  struct stat about;
  std::string path = mql::disk_path(name, flags);
  return !path.empty() && stat(path.c_str(), &about) == 0 && !S_ISDIR(about.st_mode);
}
inline bool FileDelete(const string& name, int flags = 0) {
  std::string path = mql::disk_path(name, flags);
  if (!path.empty() && unlink(path.c_str()) == 0) return true;
  _LastError = ERR_CANNOT_DELETE_FILE;
  return false;
}
inline bool FileMove(const string& from, int from_flags, const string& to, int to_flags) {
  std::string a = mql::disk_path(from, from_flags), b = mql::disk_path(to, to_flags);
  if (a.empty() || b.empty()) return false;
  if (!(to_flags & FILE_REWRITE) && FileIsExist(to, to_flags)) { _LastError = ERR_CANNOT_REWRITE_FILE; return false; }
  mql::make_folders(b);
  if (rename(a.c_str(), b.c_str()) == 0) return true;
  _LastError = ERR_FILE_NOT_EXIST;
  return false;
}
inline bool FolderCreate(const string& name, int flags = 0) {
  std::string path = mql::disk_path(name, flags);
  if (path.empty()) return false;
  mql::make_folders(path + "/");
  return true;
}
inline ulong FileSize(int handle) {
  auto* f = mql::file(handle);
  struct stat about;
  if (!f) return 0;
  fflush(f->stream);
  fstat(fileno(f->stream), &about);
  return (ulong)about.st_size;
}
inline ulong FileTell(int handle) { auto* f = mql::file(handle); return f ? (ulong)ftell(f->stream) : 0; }
inline bool FileSeek(int handle, long offset, ENUM_FILE_POSITION from) { auto* f = mql::file(handle); return f && fseek(f->stream, offset, (int)from) == 0; }
inline bool FileIsEnding(int handle) {
  auto* f = mql::file(handle);
  if (!f) return true;
  int c = fgetc(f->stream);
  if (c < 0) return true;
  ungetc(c, f->stream);
  return false;
}
inline long FileGetInteger(const string& name, ENUM_FILE_PROPERTY_INTEGER what, bool common = false) {
  struct stat about;
  std::string path = mql::disk_path(name, common ? FILE_COMMON : 0);
  if (path.empty() || stat(path.c_str(), &about)) { _LastError = ERR_FILE_NOT_EXIST; return what == FILE_EXISTS ? 0 : -1; }
  return what == FILE_SIZE ? about.st_size : what == FILE_EXISTS ? 1 : about.st_mtime;
}
inline long FileGetInteger(int handle, ENUM_FILE_PROPERTY_INTEGER what) {
  auto* f = mql::file(handle);
  struct stat about;
  if (!f || fstat(fileno(f->stream), &about)) return -1;
  return what == FILE_SIZE ? about.st_size : what == FILE_POSITION ? ftell(f->stream) : what == FILE_EXISTS ? 1 : about.st_mtime;
}
template <class T> uint FileReadArray(int handle, mql::Array<T>& a, int from = 0, int count = WHOLE_ARRAY) {
  auto* f = mql::file(handle);
  if (!f) return 0;
  long left = (long)(FileSize(handle) - ftell(f->stream)) / (long)sizeof(T);
  long n = count < 0 ? left : std::min<long>(count, left);
  if (n <= 0) return 0;
  if ((long)a.items.size() < from + n) a.resize(from + n);
  return (uint)fread(a.items.data() + from, sizeof(T), n, f->stream);
}
template <class T> uint FileWriteArray(int handle, const mql::Array<T>& a, int from = 0, int count = WHOLE_ARRAY) {
  size_t n = count < 0 ? a.items.size() - from : (size_t)count;
  return mql::put_bytes(handle, a.items.data() + from, n * sizeof(T)) / (uint)sizeof(T);
}
template <class T> uint FileWriteStruct(int handle, const T& x) { return mql::put_bytes(handle, &x, sizeof x); }
template <class T> uint FileReadStruct(int handle, T& x) { auto* f = mql::file(handle); return f ? (uint)fread((void*)&x, 1, sizeof x, f->stream) : 0; }
inline uint FileWriteLong(int handle, long x) { return mql::put_bytes(handle, &x, 8); }
inline uint FileWriteDouble(int handle, double x) { return mql::put_bytes(handle, &x, 8); }
inline uint FileWriteInteger(int handle, int x, int size = 4) { return mql::put_bytes(handle, &x, size); }
inline long FileReadLong(int handle) { long x = 0; auto* f = mql::file(handle); return f && fread(&x, 8, 1, f->stream) == 1 ? x : 0; }
inline double FileReadDouble(int handle) { double x = 0; auto* f = mql::file(handle); return f && fread(&x, 8, 1, f->stream) == 1 ? x : 0; }
inline int FileReadInteger(int handle, int size = 4) { int x = 0; auto* f = mql::file(handle); return f && fread(&x, size, 1, f->stream) == 1 ? x : 0; }
inline uint FileWriteString(int handle, const string& s, int count = -1) {
  auto* f = mql::file(handle);
  if (!f) return 0;
  std::string bytes = mql::coded(*f, count < 0 ? s : StringSubstr(s, 0, count));
  return mql::put_bytes(handle, bytes.data(), bytes.size());
}
template <class... A> uint FileWrite(int handle, const A&... a) {
  auto* f = mql::file(handle);
  if (!f) return 0;
  std::string line;
  bool first = true;
  ((line += (first ? "" : f->separator) + string(a).utf8(), first = false), ...);
  std::string bytes = mql::coded(*f, string(line + "\r\n"));
  return mql::put_bytes(handle, bytes.data(), bytes.size());
}
inline string FileReadString(int handle, int count = -1) {
  auto* f = mql::file(handle);
  if (!f) return string("");
  bool narrow = f->flags & FILE_ANSI;
  std::string bytes;
  std::u16string wide;
  if (f->flags & FILE_BIN) {
    bytes.resize(std::max(count, 0));
    bytes.resize(fread(bytes.data(), 1, bytes.size(), f->stream));
    return string(bytes);
  }
  for (;;) {
    int low = fgetc(f->stream), high = narrow || low < 0 ? 0 : fgetc(f->stream);
    int unit = low | high << 8;
    if (low < 0 || unit == '\n' || ((f->flags & FILE_CSV) && unit == (uchar)f->separator[0])) break;
    if (unit == '\r') continue;
    if (narrow) bytes += (char)unit; else wide += (char16_t)unit;
  }
  return narrow ? string(bytes) : string(wide);
}
inline long FileFindFirst(const string& mask, string& found, int flags = 0) {
  // Only a folder's listing by "folder\*" or "folder\*.ext" is known here.
  static std::map<long, std::deque<std::string>> searches;
  (void)searches;
  std::string path = mql::disk_path(mask, flags);
  size_t cut = path.rfind('/');
  std::string folder = path.substr(0, cut), pattern = path.substr(cut + 1), ending = pattern.size() > 1 ? pattern.substr(1) : "";
  DIR* opened = opendir(folder.c_str());
  if (!opened) { _LastError = ERR_FILE_NOT_EXIST; return INVALID_HANDLE; }
  std::vector<std::string> names;
  while (dirent* entry = readdir(opened)) {
    std::string name = entry->d_name;
    if (name != "." && name != ".." && name.size() >= ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0)
      names.push_back(name);
  }
  closedir(opened);
  std::sort(names.begin(), names.end());
  if (names.empty()) { _LastError = ERR_FILE_NOT_EXIST; return INVALID_HANDLE; }
  found = string(names[0]);
  return 1;
}
inline void FileFindClose(long) {}
