// ONNX models: the test runs them (harness/onnx.py); shapes, types and sizes are checked as the terminal does.
#pragma once
#include "trade.hpp"

struct OnnxTensorTypeInfo { ENUM_ONNX_DATA_TYPE data_type = ONNX_DATA_TYPE_UNDEFINED; mql::Array<long> dimensions; MQL_ITSELF(OnnxTensorTypeInfo) };
struct OnnxTypeInfo { ENUM_ONNX_TYPE type = ONNX_TYPE_UNKNOWN; OnnxTensorTypeInfo tensor; MQL_ITSELF(OnnxTypeInfo) };

namespace mql {
template <class T> const char* onnx_type() {
  if constexpr (std::is_same_v<T, float>) return "float32";
  else if constexpr (std::is_same_v<T, double>) return "float64";
  else if constexpr (std::is_same_v<T, long> || std::is_same_v<T, ulong>) return "int64";
  else return "int32";
}
template <class T> Value tensor(const Array<T>& a) {
  Value v = Value::list();
  for (auto& x : a.items) v.items.push_back(std::is_floating_point_v<T> ? Value((double)x) : Value((long)x));
  return Value::object().set("type", onnx_type<T>()).set("values", v);
}
template <class T> bool put_tensor(Array<T>& to, const Value& from) {
  if (to.items.size() != from.items.size()) {
    if (to.is_fixed) { _LastError = ERR_ONNX_INVALID_PARAMETER_SIZE; return false; }
    to.resize(from.items.size());
  }
  for (size_t i = 0; i < to.items.size(); i++) to.items[i] = std::is_floating_point_v<T> ? (T)from.items[i].number() : (T)from.items[i].integer();
  return true;
}
template <class... A> void put_tensors(Value& inputs, size_t count, const A&... a) {
  size_t i = 0;
  ((i++ < count ? inputs.items.push_back(tensor(a)) : void()), ...);
}
template <class T> bool take(const Array<T>& a, const Value& from) { return put_tensor(const_cast<Array<T>&>(a), from); }
template <class... A> bool take_tensors(const Value& outputs, size_t inputs, const A&... a) {
  size_t i = 0;
  bool good = true;
  ((i >= inputs ? void(good = take(a, outputs.items[i - inputs]) && good) : void(), i++), ...);
  return good;
}
template <class T> bool set_shape(const char* function, long handle, long index, const Array<T>& shape) {
  std::vector<long> sizes;
  for (auto x : shape.items) sizes.push_back((long)x);
  return ask(function, handle, index, Value::list_of(sizes)).truth();
}
inline long create_onnx(const std::vector<uchar>& bytes, uint flags) {
  std::vector<uchar> coded = base64(bytes);
  Value v = ask("OnnxCreate", std::string(coded.begin(), coded.end()), flags);
  return v.kind == Value::Nothing ? INVALID_HANDLE : v.integer();
}
}  // namespace mql

inline long OnnxCreateFromBuffer(const mql::Array<uchar>& bytes, uint flags) { return mql::create_onnx(bytes.items, flags); }
inline long OnnxCreate(const string& name, uint flags) {
  int handle = FileOpen(name, FILE_READ | FILE_BIN | (flags & ONNX_COMMON_FOLDER ? FILE_COMMON : 0));
  if (handle == INVALID_HANDLE) return INVALID_HANDLE;
  mql::Array<uchar> bytes;
  FileReadArray(handle, bytes);
  FileClose(handle);
  return mql::create_onnx(bytes.items, flags);
}
inline bool OnnxRelease(long handle) { return mql::ask("OnnxRelease", handle).truth(); }
inline long OnnxGetInputCount(long handle) { return mql::ask("OnnxGetInputCount", handle).integer(); }
inline long OnnxGetOutputCount(long handle) { return mql::ask("OnnxGetOutputCount", handle).integer(); }
inline string OnnxGetInputName(long handle, long i) { return string(mql::ask("OnnxGetInputName", handle, i).text); }
inline string OnnxGetOutputName(long handle, long i) { return string(mql::ask("OnnxGetOutputName", handle, i).text); }
template <class T> bool OnnxSetInputShape(long handle, ulong i, const mql::Array<T>& shape) { return mql::set_shape("OnnxSetInputShape", handle, (long)i, shape); }
template <class T> bool OnnxSetOutputShape(long handle, ulong i, const mql::Array<T>& shape) { return mql::set_shape("OnnxSetOutputShape", handle, (long)i, shape); }
namespace mql {
inline bool type_info(const char* function, long handle, long i, OnnxTypeInfo& out) {
  Value v = ask(function, handle, i);
  if (v.kind != Value::Object) return false;
  out.type = ONNX_TYPE_TENSOR;
  out.tensor.data_type = (ENUM_ONNX_DATA_TYPE)v["data_type"].integer();
  out.tensor.dimensions.items.clear();
  for (auto& d : v["dimensions"].items) out.tensor.dimensions.items.push_back(d.integer());
  return true;
}
}  // namespace mql
inline bool OnnxGetInputTypeInfo(long handle, long i, OnnxTypeInfo& out) { return mql::type_info("OnnxGetInputTypeInfo", handle, i, out); }
inline bool OnnxGetOutputTypeInfo(long handle, long i, OnnxTypeInfo& out) { return mql::type_info("OnnxGetOutputTypeInfo", handle, i, out); }
// Inputs first, then outputs, as many as the model has.
template <class... A> bool OnnxRun(long handle, uint flags, const A&... a) {
  size_t inputs = (size_t)OnnxGetInputCount(handle), outputs = (size_t)OnnxGetOutputCount(handle);
  if (inputs + outputs != sizeof...(a)) { _LastError = ERR_ONNX_INVALID_PARAMETERS_COUNT; return false; }
  mql::Value given = mql::Value::list();
  mql::put_tensors(given, inputs, a...);
  mql::Value answer = mql::ask("OnnxRun", handle, flags, given);
  if (answer.kind != mql::Value::List || answer.items.size() != outputs) { if (!_LastError) _LastError = ERR_ONNX_RUN_FAILED; return false; }
  return mql::take_tensors(answer, inputs, a...);
}
