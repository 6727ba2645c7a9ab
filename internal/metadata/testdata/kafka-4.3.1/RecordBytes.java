// Writes one line for every metadata record type and version of Apache Kafka:
// name, version, the value's bytes in hexadecimal, the record as Kafka's own JSON.
// Three shapes of each: defaults, everything set, everything that may be null null.
//
//   java -cp 'libs/*' RecordBytes.java > records.txt
//
// with libs the jars of Kafka 4.3.1; records_test.go reads the result.

import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.metadata.MetadataJsonConverters;
import org.apache.kafka.common.metadata.MetadataRecordType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.server.common.ApiMessageAndVersion;

public class RecordBytes {
    static int seed = 1;

    public static void main(String[] args) throws Exception {
        for (MetadataRecordType type : MetadataRecordType.values()) {
            for (short v = type.lowestSupportedVersion(); v <= type.highestSupportedVersion(); v++) {
                for (int shape = 0; shape < 3; shape++) {
                    ApiMessage m = type.newMetadataRecord();
                    if (shape == 1) fill(m);
                    if (shape == 2) nullify(m);
                    while (true) {
                        try {
                            print(type, v, m);
                            break;
                        } catch (UnsupportedVersionException e) {
                            unset(m, type.newMetadataRecord(), e.getMessage());
                        }
                    }
                }
            }
        }
    }

    static void print(MetadataRecordType type, short version, ApiMessage m) {
        MetadataRecordSerde serde = new MetadataRecordSerde();
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ApiMessageAndVersion mv = new ApiMessageAndVersion(m, version);
        byte[] b = new byte[serde.recordSize(mv, cache)];
        serde.write(mv, cache, new ByteBufferAccessor(java.nio.ByteBuffer.wrap(b)));
        System.out.println(m.getClass().getSimpleName() + " " + version + " " + HexFormat.of().formatHex(b)
            + " " + MetadataJsonConverters.writeJson(m, version));
    }

    // A version that lacks a field says so when it is set: back to its default.
    static void unset(ApiMessage m, ApiMessage defaults, String message) throws Exception {
        Matcher field = Pattern.compile("non-default (\\w+) at").matcher(message);
        if (!field.find()) throw new Exception(message);
        Field f = m.getClass().getDeclaredField(field.group(1));
        f.setAccessible(true);
        f.set(m, f.get(defaults));
    }

    static void fill(Object o) throws Exception {
        for (Field f : o.getClass().getDeclaredFields()) {
            if (java.lang.reflect.Modifier.isStatic(f.getModifiers()) || f.getName().startsWith("_")) continue;
            f.setAccessible(true);
            f.set(o, value(f.getGenericType(), f.getType()));
        }
    }

    static Object value(Type generic, Class<?> c) throws Exception {
        int n = seed++;
        if (c == boolean.class) return true;
        if (c == byte.class) return (byte) (n % 100 + 2);
        if (c == short.class) return (short) (n * 37);
        if (c == int.class) return n * 1000003;
        if (c == long.class) return n * 1000000000039L;
        if (c == double.class) return n * 1.25;
        if (c == String.class) return "text-\u00e9-" + n;
        if (c == Uuid.class) return new Uuid(n * 0x9e3779b97f4a7c15L, n * 0xc2b2ae3d27d4eb4fL);
        if (c == byte[].class) return new byte[] {(byte) n, 0, -1, 7};
        if (List.class.isAssignableFrom(c)) {
            Class<?> e = (Class<?>) ((ParameterizedType) generic).getActualTypeArguments()[0];
            List<Object> list = new ArrayList<>();
            list.add(element(e));
            list.add(element(e));
            return list;
        }
        // A collection of a record's own: it is keyed, and takes elements one by one.
        Object collection = c.getDeclaredConstructor().newInstance();
        Class<?> e = (Class<?>) ((ParameterizedType) c.getGenericSuperclass()).getActualTypeArguments()[0];
        Method add = java.util.Collection.class.getMethod("add", Object.class);
        add.invoke(collection, element(e));
        add.invoke(collection, element(e));
        return collection;
    }

    static Object element(Class<?> e) throws Exception {
        if (e == Integer.class) return seed++ * 7;
        if (e == String.class) return "item" + seed++;
        if (e == Uuid.class) return value(e, e);
        Object o = e.getDeclaredConstructor().newInstance();
        fill(o);
        return o;
    }

    static void nullify(Object o) throws Exception {
        for (Field f : o.getClass().getDeclaredFields()) {
            if (java.lang.reflect.Modifier.isStatic(f.getModifiers()) || f.getName().startsWith("_")) continue;
            f.setAccessible(true);
            if (!f.getType().isPrimitive() && f.getType() != Uuid.class && f.getType() != byte[].class) {
                Object before = f.get(o);
                f.set(o, null);
                try {
                    new ApiMessageAndVersion((ApiMessage) o, (short) 0);
                    // Whether it may be null shows when it is written; lists and names that may not stay.
                    MetadataRecordSerde serde = new MetadataRecordSerde();
                    serde.recordSize(new ApiMessageAndVersion((ApiMessage) o, ((ApiMessage) o).highestSupportedVersion()), new ObjectSerializationCache());
                } catch (Exception e) {
                    f.set(o, before);
                }
            }
        }
    }
}
